"""File ops: copy, mkdir, mkfile, rm and symlink, done without a container, with BuildKit's rules."""

from bakepy.worker.file.keys import FileKey, content_digest, file_key
from bakepy.worker.file.run import as_tree, run_file

__all__ = ["FileKey", "as_tree", "content_digest", "file_key", "run_file"]
