"""Checks of checkpoints, adapters and what a spec builds from them."""
