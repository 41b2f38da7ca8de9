"""What earlier runs have done: records on disk, by cache key, and locks on keys between processes."""
