"""Read-only checks before a launch: one kind of check per file."""
