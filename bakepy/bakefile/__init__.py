"""Bake files: TOML, JSON, HCL and compose files, read into one body model, evaluated into a `BakeFile`.

`load` does it all; `render` prints the result; `load_definitions` is for lists and completion.
"""

from bakepy.bakefile.load import Definitions, LoadOptions, VariableInfo, load, load_definitions
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.render import render

__all__ = ["Definitions", "LoadOptions", "Reader", "VariableInfo", "load", "load_definitions", "render"]
