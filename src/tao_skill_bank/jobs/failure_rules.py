"""Known failures: symptom, cause and fix. The rules are data, found by location."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from tao_skill_bank import models
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs import log_lines

RULE_FILES = "failures*.yaml"
NOTHING = re.compile("(?!)")
Retry = Literal["yes", "no", "after_change"]
ErrorClass = Literal["ERR_INFRA", "ERR_PROGRAM"]
Standing = Literal["machine", "cause", "suspicion", "follower"]


@dataclass(frozen=True)
class Step:
    """One change of a spec that a failure asks for.

    Attributes:
        action: of the skill whose spec has the keys.
        lower: the key of a number; its next value is the largest valid one of at most 1 / `by`.
        multiply: the key of a number that grows as much as the other one shrinks, so that their product stays.
        double: the key of a number that becomes twice as large, and at least `at_least`.
        set: keys and their new values.

    """

    action: str
    lower: str = ""
    by: int = 2
    multiply: str = ""
    double: str = ""
    at_least: int = 0
    set: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Rule:
    """A known failure, as described in failures*.yaml.

    Attributes:
        standing: where it ranks among the failures of a log: what a machine's own evidence proves, a cause, what has
            several possible causes, or what follows from the failure of another process.
        package: the model that it is of; empty for a failure of any.
        refines: codes of more general rules, which it replaces where it applies.
        actions: of its model that it is about; in a log without a plan, one that names them shows it.
        quiet: its symptom counts on lines of this level, too; `info` includes warnings.
        unless: excludes lines.
        steps: changes that may help, the first one to try first.

    """

    code: str
    cause: str
    cure: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    context: tuple[str, ...] = ()
    retry: Retry = "after_change"
    err_class: ErrorClass = "ERR_PROGRAM"
    standing: Standing = "cause"
    package: str = ""
    refines: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    quiet: log_lines.Level = ""
    unless: re.Pattern[str] | None = None
    steps: tuple[Step, ...] = ()

    def matches(self, line: str, lowered: str) -> bool:
        """Return whether a line is a symptom: not data that it repeats, nor of a level that is no error."""
        if not holds(lowered, self.words):
            return False
        found = self.pattern.search(line)
        if found is None or (self.unless is not None and self.unless.search(line) is not None):
            return False
        level = log_lines.level(line)
        return (not level or self.quiet in (level, "info")) and not log_lines.quotes(line, found.start())


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
    general = {rule.code: rule for rule in _rules_in(Path(__file__).parent, "", {})}
    own = (rule for folder in folders for rule in _rules_in(folder, folder.name, general))
    return (*general.values(), *own)


def of_code(code: str, package: str, action: str) -> Rule | None:
    """Return the rule of a code that a trainer reports, that of its model and action where it has one."""
    known = [rule for rule in rules() if code in (rule.code, *rule.refines) and rule.package in ("", package)]
    fitting = [rule for rule in known if (rule.code == code and not rule.package) or action in rule.actions]
    return max(fitting, key=lambda rule: (rule.package != "", rule.code == code), default=None)


def _rules_in(folder: Path, package: str, general: Mapping[str, Rule]) -> Iterator[Rule]:
    for file in sorted(folder.glob(RULE_FILES)):
        found = yaml12.read(file)
        for number, entry in enumerate(found if isinstance(found, list) else [found], start=1):
            try:
                yield _rule(entry, package, general)
            except (KeyError, TypeError, AttributeError, ValueError, re.error) as error:
                message = f"{file}: rule {number} cannot be read: {error!r}."
                fix = "Give it code, words, patterns (regular expressions), cause and `cure`."
                raise RequestError.of("invalid_failure_rule", message, fix, path=str(file)) from None


def _rule(entry: dict[str, Any], package: str, general: Mapping[str, Rule]) -> Rule:
    """Return the rule of an entry; without patterns, with those of the general rule of its code."""
    code = str(entry["code"])
    base = general.get(code) if "patterns" not in entry else None
    refined = (code,) if base is not None else tuple(entry.get("refines", ()))
    shown = tuple(f"{package}{mark}{action}" for action in entry.get("actions", ()) for mark in "./")
    given: dict[str, Any] = {
        name: _one_of(entry, name, allowed)
        for name, allowed in (("retry", Retry), ("err_class", ErrorClass), ("standing", Standing))
        if name in entry
    }
    rule = Rule(code, entry["cause"], entry["cure"], (), NOTHING) if base is None else base
    if base is None:
        given |= {"words": _words(entry["words"]), "pattern": _any(entry["patterns"])}
        given |= {"unless": _any(entry["unless"])} if "unless" in entry else {}
        given |= {"quiet": _one_of(entry, "quiet", log_lines.Level)} if "quiet" in entry else {}
    return replace(
        rule,
        cause=entry["cause"],
        cure=entry["cure"],
        context=(*entry.get("context", ()), *shown),
        package=package,
        actions=tuple(entry.get("actions", ())),
        refines=refined,
        steps=tuple(map(_step, entry.get("steps", ()))),
        **given,
    )


def _words(found: list[str]) -> tuple[str, ...]:
    if not all(isinstance(word, str) for word in found):
        raise TypeError(f"words are {found!r}, not all of them text")
    return tuple(found)


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


def _one_of(entry: dict[str, Any], name: str, allowed: Any) -> Any:
    if entry[name] not in get_args(allowed):
        raise ValueError(f"{name} is {entry[name]!r}, not one of {', '.join(get_args(allowed))}")
    return entry[name]


def _step(entry: dict[str, Any]) -> Step:
    given = dict(entry)
    return Step(**given | {"set": tuple(given.pop("set", {}).items())})
