"""Known failures: symptom, cause and fix. The rules are data, found by location."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tao_skill_bank import models
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError

RULE_FILE = "failures.yaml"


@dataclass(frozen=True)
class Rule:
    """A known failure, as described in failures.yaml."""

    code: str
    cause: str
    cure: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    context: tuple[str, ...] = ()

    def matches(self, line: str, lowered: str) -> bool:
        return holds(lowered, self.words) and self.pattern.search(line) is not None


def holds(lowered: str, words: tuple[str, ...]) -> bool:
    """Return whether a line in lower case contains one of some words."""
    for word in words:  # noqa: SIM110 - any() takes twice as long, and this runs for every rule
        if word in lowered:
            return True
    return False


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of the package, then those of each model. Raises RequestError for a rule that is none."""
    roots = [Path(root) for root in models.__path__ if Path(root).is_dir()]  # other distributions may add some
    folders = sorted((folder for root in roots for folder in root.iterdir()), key=lambda folder: folder.name)
    return tuple(rule for folder in (Path(__file__).parent, *folders) for rule in _rules_in(folder))


def _rules_in(folder: Path) -> Iterator[Rule]:
    file = folder / RULE_FILE
    found = yaml12.read(file) if file.is_file() else []
    for number, entry in enumerate(found if isinstance(found, list) else [found], start=1):
        try:
            yield _rule(entry)
        except (KeyError, TypeError, AttributeError, re.error) as error:
            message = f"{file}: rule {number} cannot be read: {error!r}."
            fix = "Give it code, words, patterns (regular expressions), cause and `cure`."
            raise RequestError.of("invalid_failure_rule", message, fix, path=str(file)) from None


def _rule(entry: dict[str, Any]) -> Rule:
    pattern = re.compile("|".join(entry["patterns"]), re.IGNORECASE)
    words, context = tuple(entry["words"]), tuple(entry.get("context", ()))
    return Rule(entry["code"], entry["cause"], entry["cure"], words, pattern, context)
