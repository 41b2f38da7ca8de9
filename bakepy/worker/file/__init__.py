"""File ops: copy, mkdir, mkfile, rm and symlink, done without a container, with BuildKit's rules.

`keys` tells what an op depends on, `run` carries it out: a run that finds everything needs the first only.
"""
