"""What the caller lends a build: secrets and registry credentials."""
