"""The same random bake definition to bakepy and to buildx: they print the same, or both refuse it."""
