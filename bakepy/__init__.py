"""bakepy bakes many container images from one declarative file: one file, one graph, one solve."""

from bakepy._version import __version__

__all__ = ["__version__"]
