"""Benchmarks beside the peers: docker buildx and the Docker Engine, in one run."""
