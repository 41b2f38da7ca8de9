"""The client of registries (OCI distribution specification). Import from the modules.

Nothing here imports the HTTP library before a connection is made.
"""
