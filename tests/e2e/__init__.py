"""The whole program, as a user runs it: real files, containers, layers and registries."""
