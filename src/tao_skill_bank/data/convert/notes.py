"""What a conversion notes while it reads: what has no place in its result, and everything that is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """Collects what is left out and the problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.num_problems = 0
        self._left_out: dict[str, LeftOut] = {}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(self._left_out.values())

    def leave_out(self, what: str, count: int = 1, first: str = "") -> None:
        """Count something that has no place in the result."""
        what, first = printable(what), printable(first)
        if what not in self._left_out and len(self._left_out) >= MAX_ENTRIES:
            what = REST
        entry = self._left_out.setdefault(what, LeftOut(what, 0, first))
        entry.count += count

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
