"""Torch code that every trainer shares: processes, checkpoints, adapters, schedule, status files."""
