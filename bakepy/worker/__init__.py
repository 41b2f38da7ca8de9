"""Binds LLB ops to solver ops, and does their work: processes through an OCI runtime, file ops, merges."""
