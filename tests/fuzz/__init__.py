"""Fuzzing: random and hostile input, alone (`python -m tests.fuzz`) and beside buildx (`python -m tests.fuzz.differential`)."""
