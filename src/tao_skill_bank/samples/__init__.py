"""Small real datasets that are generated locally, with no download."""
