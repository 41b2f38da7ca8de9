"""Engines build plans: `protocol` is what the command line asks of one, `embedded` works on this machine."""
