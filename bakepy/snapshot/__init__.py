"""File trees by key: prepare, commit, view, diff and unpack; overlayfs as root, copies elsewhere."""
