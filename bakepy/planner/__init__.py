"""From a BakeFile to a Plan: targets chosen, contexts linked, platforms spread, everything lowered into one graph.

It reads no disk and no network by itself: `planner.files` and `planner.compiling` say what it is given.
"""
