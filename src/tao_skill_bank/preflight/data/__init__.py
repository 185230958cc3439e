"""Checks of datasets and media."""
