"""Kinds of input that only this model reads."""
