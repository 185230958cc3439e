"""Columns that the user names for the keys of records."""

from collections.abc import Mapping
from typing import Any

from tao_skill_bank.data.convert.notes import Notes


class Columns:
    """Gives records the known keys for the columns that stand for them."""

    def __init__(self, columns: Mapping[str, str], notes: Notes) -> None:
        self._keys = {column: key for key, column in columns.items()}
        self._unseen = set(self._keys)
        self._notes = notes

    def apply(self, raw: Any, where: str) -> Any:
        """Return a record with its columns renamed; a column that another one replaces is noted."""
        if not self._keys or not isinstance(raw, dict):
            return raw
        self._unseen -= raw.keys()
        taken = set(self._keys.values())
        for key in taken & (raw.keys() - self._keys.keys()):
            self._notes.leave_out(f"key {key}", first=where)
        return {
            self._keys.get(name, name): value for name, value in raw.items() if name in self._keys or name not in taken
        }

    def finish(self, path: str) -> None:
        """Add a problem for every column that no record has."""
        for column in sorted(self._unseen):
            message = f"{path} has no column {column!r}."
            self._notes.problem("column_missing", message, f"Correct --column {self._keys[column]}=NAME.", path)
