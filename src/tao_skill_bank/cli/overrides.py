"""Overrides as they are pasted into a command line, and the command line that they correct."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tao_skill_bank.errors import RequestError, TaoSkillsError

if TYPE_CHECKING:
    from tao_skill_bank.contracts import Finding, Request
    from tao_skill_bank.errors import Problem

PROGRAM, SET = "tao-skills", "--set"
Overrides = Mapping[str, Any]


def option_words(overrides: Overrides) -> list[str]:
    """Return overrides as words of a command line, not yet quoted for the shell."""
    return [word for path, value in overrides.items() for word in (SET, f"{path}={value_text(value)}")]


def value_text(value: Any) -> str:
    """Return the text that the value of an override is written as, and read back as exactly this value."""
    from tao_skill_bank.core import yaml12

    if isinstance(value, str):
        with suppress(RequestError):  # a text that is not YAML by itself is quoted
            if value.isprintable() and yaml12.parse_value(value, SET) == value:
                return value
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def lines(fix_set: Overrides, fix_choices: Iterable[Overrides] = ()) -> Iterator[str]:
    """Yield what is printed below a fix: the overrides to paste, or each of those to choose from."""
    if fix_set:
        yield f"set: {shlex.join(option_words(fix_set))}"
    for choice in fix_choices:
        yield f"or: {shlex.join(option_words(choice))}"


@dataclass(frozen=True)
class CommandLine:
    """A command line with a request.

    Attributes:
        words: what follows the program's name.
        sets: its overrides, as they are written behind --set.
        read: returns its request with other such overrides; raises TaoSkillsError when there is none.

    """

    words: Sequence[str]
    sets: tuple[str, ...]
    read: Callable[[tuple[str, ...]], "Request"]

    def corrected(self, problems: Iterable["Problem | Finding"]) -> list[str]:
        """Return this command line with the overrides that resolve all of the problems that block it.

        Nothing where a problem is not resolved by overrides alone, or where these do not go together.
        """
        fixes = [problem.fix_set for problem in problems]
        if not fixes or not all(fixes):
            return []
        try:
            return self.with_overrides({path: value for fix in fixes for path, value in fix.items()})
        except TaoSkillsError:
            return []  # something else is wrong with the request, too, which a problem says

    def with_overrides(self, fix: Overrides) -> list[str]:
        """Return this command line with overrides, in place of its own of the same parameters, and what they need.

        Nothing where that leaves a problem.

        Raises:
            TaoSkillsError: the request cannot be read.

        """
        from tao_skill_bank.bank import catalog
        from tao_skill_bank.planning import parents
        from tao_skill_bank.spec import build, overrides, proven_fixes

        request = self.read(self.sets)
        skill = catalog.find(request.skill)
        schema, inherited = skill.schema(request.action), parents.inherit(skill, request).values
        whole = proven_fixes.complete(fix, lambda added: build.problems_with(skill, request, added, inherited))
        if whole is None:
            return []
        cancelled = {path for path in whole if overrides.is_cancelled(request.overrides, path, whole[path], schema)}
        words, dropped = _without_sets(
            self.words, lambda path: path in whole or overrides.is_taken_back(path, cancelled, schema)
        )
        kept = tuple(text for text in self.sets if text not in dropped)
        left = self.read(kept).overrides  # those of the request file, and the other ones
        needed = {
            path: value
            for path, value in whole.items()
            if path not in cancelled or overrides.is_cancelled(left, path, value, schema)
        }
        return [shlex.join([PROGRAM, *words, *option_words(needed)])]


def _without_sets(words: Sequence[str], is_replaced: Callable[[str], bool]) -> tuple[list[str], set[str]]:
    """Return a command line without the overrides that are replaced or taken back, and these."""
    kept: list[str] = []
    dropped: set[str] = set()
    rest = list(words)
    while rest:
        is_apart = rest[0] == SET and len(rest) > 1
        group, rest = (rest[:2], rest[2:]) if is_apart else (rest[:1], rest[1:])
        text = group[1] if is_apart else group[0].removeprefix(f"{SET}=") if group[0].startswith(f"{SET}=") else ""
        path = text.partition("=")[0]
        if text and is_replaced(path):
            dropped.add(text)
        else:
            kept += group
    return kept, dropped
