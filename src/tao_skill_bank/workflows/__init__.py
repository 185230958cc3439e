"""Declared workflows: steps that are requests or stages, run one after the other, resumable at any moment."""
