"""A bank of agent skills that run: request -> plan -> launch -> result."""

__version__ = "0.1.0"
