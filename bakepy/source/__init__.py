"""The roots of the graph: images, folders of the user; resolved to a pin, then to a file tree."""
