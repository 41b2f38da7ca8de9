"""Dockerfile text to typed instructions, checks, LLB and image config. Start at `compile`."""
