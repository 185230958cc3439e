"""What a conversion notes while it reads: files it used, what has no place in its result, what is wrong."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.errors import BlockedError, Problem

MAX_PROBLEMS = 100
MAX_ENTRIES = 1000  # different things without a place
MAX_SHOWN = 300  # characters
REST = "others"


@dataclass
class LeftOut:
    """One thing without a place: what it is, how many values of it there are, and where the first one is."""

    what: str
    count: int
    first: str


class Notes:
    """Collects what is left out and the problems.

    Attributes:
        problems: the first of them.
        num_problems: all of them.
        used: absolute paths of the files that were read.

    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.num_problems = 0
        self.used: set[str] = set()
        self._left_out: dict[str, LeftOut] = {}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(self._left_out.values())

    def use(self, path: Path) -> None:
        """Note a file of the source that was read."""
        self.used.add(os.path.abspath(path))  # noqa: PTH100 - links are not followed

    def leave_out(self, what: str, count: int = 1, first: str = "") -> None:
        """Count something that has no place in the result."""
        if what not in self._left_out and len(self._left_out) >= MAX_ENTRIES:
            what = REST
        if what not in self._left_out:
            self._left_out[what] = LeftOut(printable(what), 0, printable(first))
        self._left_out[what].count += count

    def add(self, problems: Iterable[Problem]) -> None:
        """Take in problems; beyond MAX_PROBLEMS they are only counted."""
        for problem in problems:
            self.num_problems += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(problem)

    def problem(self, code: str, message: str, fix: str, path: str = "") -> None:
        """Take in one problem."""
        self.add([Problem(code, message, fix, path)])

    def raise_problems(self) -> None:
        """Raise BlockedError if there are any problems."""
        if self.num_problems:
            raise BlockedError([*self.problems, *_rest(self.num_problems)])


def printable(text: str) -> str:
    """Return a name as one line for a terminal, whatever it holds."""
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in shown)


def _rest(count: int) -> Sequence[Problem]:
    if count <= MAX_PROBLEMS:
        return ()
    message = f"{count} problems were found; the first {MAX_PROBLEMS} are listed."
    return (Problem("more_problems", message, "Correct these and convert again to see the others."),)
