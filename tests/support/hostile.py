"""Pickles that run code when they are read: they make a folder, which a test then looks for."""

import os
import pickle


class Hostile:
    """An object whose pickle makes a folder where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


NAME = f"{os.mkdir.__module__}.mkdir"


def write(path, mark):
    """Put a pickle that makes the folder `mark` in the place of a file."""
    path.write_bytes(pickle.dumps(Hostile(mark)))
