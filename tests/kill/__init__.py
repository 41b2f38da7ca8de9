"""Kills at random instants, and what is right afterwards. `python -m tests.kill --times 100` for many."""
