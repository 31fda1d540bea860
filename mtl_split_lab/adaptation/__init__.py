"""Links that change, as they really do."""
