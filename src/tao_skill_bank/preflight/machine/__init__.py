"""Checks of the machine: GPUs, memory, disk."""
