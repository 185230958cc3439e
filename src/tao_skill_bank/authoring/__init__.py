"""Tools for skill authors: the files generated from spec dataclasses."""
