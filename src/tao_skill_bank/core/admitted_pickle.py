"""Reads a pickle of which only named globals are admitted: a pickle may name any function and have it called."""

import pickle
import struct
from collections.abc import Collection
from importlib import import_module
from io import BufferedIOBase
from typing import Any

Global = tuple[str, str]
"""The module and the name of a class or function."""
DAMAGE = (AttributeError, ImportError, IndexError, OverflowError, TypeError, struct.error)  # as a damaged pickle raises


class RefusedPickleError(pickle.UnpicklingError):
    """The pickle asks for something that is not admitted; none of it was run."""


class _Unpickler(pickle._Unpickler):  # the one in C gives no say in BUILD
    def __init__(self, file: BufferedIOBase, admitted: Collection[Global]) -> None:
        super().__init__(file)
        self._admitted = admitted

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._admitted:
            raise RefusedPickleError(f"it asks for {module}.{name}, which is not admitted")
        return getattr(import_module(module), name)

    def load_build(self) -> None:
        """Set the state of an object, but never that of an admitted class or function: all others would see it."""
        target = self.stack[-2]  # type: ignore[attr-defined]  # typeshed leaves it out
        if callable(target):
            raise RefusedPickleError(f"it changes {target.__module__}.{target.__qualname__}, which is not admitted")
        super().load_build()  # type: ignore[misc]  # typeshed leaves it out

    dispatch = dict(pickle._Unpickler.dispatch)  # noqa: RUF012 - declared so by the base class
    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]  # typeshed has the other Unpickler there


def load(file: BufferedIOBase, admitted: Collection[Global]) -> Any:
    """Return the object of a pickle.

    Raises:
        RefusedPickleError: it asks for a global that is not admitted.
        UnpicklingError, EOFError, ValueError, KeyError: it is damaged.

    """
    try:
        return _Unpickler(file, admitted).load()
    except DAMAGE as error:
        raise pickle.UnpicklingError(str(error)) from None
