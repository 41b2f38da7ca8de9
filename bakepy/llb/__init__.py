"""LLB: ops, vertices, the graph and its wire form. Identity is the sha256 of an op's marshalled bytes."""
