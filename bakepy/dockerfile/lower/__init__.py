"""Instructions to LLB: nodes first, vertices when all is known."""
