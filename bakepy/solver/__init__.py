"""Generic demand-driven evaluation of a graph: each vertex at most once, nothing that is known already.

It knows no container and no LLB: of a vertex it asks a digest and inputs, of an op a cache map and a `run`. `state`
holds what is so and decides what is next, in plain functions, on `node`s and `pools`; `scheduler` awaits; `keys`
computes keys; `vertex` holds the protocols that others implement.
"""
