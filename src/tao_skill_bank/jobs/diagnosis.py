"""What a diagnosis says, and the order of several: the root cause, what else was seen, what only follows from it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tao_skill_bank.contracts import OMITTED_IF_EMPTY, contract
from tao_skill_bank.jobs import log_lines
from tao_skill_bank.jobs.failure_rules import ErrorClass, Retry, Rule
from tao_skill_bank.jobs.log_scan import Scan, Symptom
from tao_skill_bank.jobs.tracebacks import STATED, Error

UNKNOWN, STATED_FAILURE = "no_known_failure", "stated_failure"
Role = Literal["root", "also", "follower"]
# Orders, the lower the likelier the root: what a rule's standing says, and between those what no rule knows.
ORDERS = {"machine": 0, "cause": 1, "suspicion": 3, "follower": 5}
TRACEBACK, COMPLAINT, NOTHING = 2, 4, 6
RULED_OUT = ORDERS["suspicion"]  # from here on it follows from a better explanation, if there is one


@contract
class Diagnosis:
    """A failure, its cause and its fix (`cure`); `line_number` counts the symptom's place in `source` from 1.

    Attributes:
        role: `root` for the likeliest root cause; `follower` for what another process's failure explains.
        frame: the last frame of the symptom's traceback, as `file:line, in name`.
        ranks: that wrote the symptom, where its lines name them.
        retry: whether to run it again as it is, only after the change that the fix names, or not at all.
        err_class: ERR_INFRA for a machine, network, file system or scheduler; None where that is not known.
        fix_set: overrides of the job's own spec that resolve it, to paste.

    """

    code: str
    symptom: str
    cause: str
    cure: str
    source: str
    line_number: int = 0
    occurrences: int = 1
    role: Role = "root"
    frame: str = ""
    ranks: tuple[int, ...] = ()
    retry: Retry = "no"
    err_class: ErrorClass | None = None
    fix_set: Annotated[dict[str, Any], OMITTED_IF_EMPTY] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """A diagnosis, its order among others, and the rule that found it."""

    diagnosis: Diagnosis
    order: int
    rule: Rule | None = None


def in_log(seen: Scan, source: str, package: str, action: str) -> list[Ranked]:
    """Return what a log shows. `package` and `action` are those of its model, empty where they are not known."""
    applicable = dict(_applicable(seen, package, action))
    replaced = {rule for rule in applicable if any(_replaces(other, rule, applicable) for other in applicable)}
    entries = [
        Ranked(_of_rule(rule, found, source), _order(rule, applicable), rule)
        for rule, found in applicable.items()
        if rule not in replaced
    ]
    entries.sort(key=lambda entry: entry.diagnosis.line_number)
    lines = {entry.diagnosis.line_number for entry in entries}
    errors = ((seen.traceback, TRACEBACK), (seen.complaint, COMPLAINT))
    unknown = [
        Ranked(_of_error(each, source), order) for each, order in errors if each and each.line_number not in lines
    ]
    return entries + unknown


def ordered(found: Iterable[Ranked]) -> list[Ranked]:
    """Return each failure once, the root cause first, with its role."""
    by_code: dict[str, Ranked] = {}
    for number, entry in enumerate(sorted(found, key=lambda entry: entry.order)):
        key = entry.diagnosis.code if entry.rule is not None else f"unknown {number}"
        by_code[key] = _joined(by_code[key], entry) if key in by_code else entry
    ranked = list(by_code.values())
    best = min((entry.order for entry in ranked), default=NOTHING)
    if best <= TRACEBACK:
        ranked = [entry for entry in ranked if entry.order != COMPLAINT]  # it says the same in other words
    return [_with_role(entry, is_first=number == 0, best=best) for number, entry in enumerate(ranked)]


def _replaces(specific: Rule, general: Rule, found: Mapping[Rule, Symptom]) -> bool:
    """Return whether a rule of the model stands for a general one, which matched the same line or only follows."""
    if general.package or general.code not in specific.refines or specific is general:
        return False
    is_same = found[specific].line_number == found[general].line_number
    return is_same or general.standing in ("suspicion", "follower")


def _order(rule: Rule, found: Mapping[Rule, Symptom]) -> int:
    """Return the order of a rule; one that states no standing has the best of the rules that it refines."""
    refined = [other.standing for other in found if other.code in rule.refines and not other.package]
    if rule.standing != "cause" or not refined:
        return ORDERS[rule.standing]
    return min(ORDERS[standing] for standing in refined)


def _joined(first: Ranked, other: Ranked) -> Ranked:
    one, two = first.diagnosis, other.diagnosis
    ranks = tuple(sorted({*one.ranks, *two.ranks}))
    return replace(first, diagnosis=replace(one, ranks=ranks, occurrences=one.occurrences + two.occurrences))


def _with_role(entry: Ranked, *, is_first: bool, best: int) -> Ranked:
    follows = entry.order == ORDERS["follower"] or (entry.order >= RULED_OUT > best)
    role: Role = "follower" if follows else "root" if is_first else "also"
    return replace(entry, diagnosis=replace(entry.diagnosis, role=role))


def _applicable(seen: Scan, package: str, action: str) -> Iterator[tuple[Rule, Symptom]]:
    for rule, found in seen.matches.items():
        if package and rule.package not in ("", package):
            continue
        if rule.actions and package:
            if action in rule.actions:
                yield rule, found
        elif not rule.context or rule in seen.contexts:
            yield rule, found


def _of_rule(rule: Rule, found: Symptom, source: str) -> Diagnosis:
    return Diagnosis(
        code=rule.code,
        symptom=found.line.strip(),
        cause=rule.cause,
        cure=rule.cure,
        source=source,
        line_number=found.line_number,
        occurrences=found.occurrences,
        frame=found.frame,
        ranks=tuple(sorted(found.ranks)),
        retry=rule.retry,
        err_class=rule.err_class,
    )


def _of_error(error: Error, source: str) -> Diagnosis:
    """Return the diagnosis of an error that no rule knows; a program of this bank states its cause and fix itself."""
    own = STATED.match(log_lines.writer(error.line)[1])
    place = f" It was raised at {error.frame}." if error.frame else ""
    cause = f"No known failure: this is the first error of the log, line {error.line_number}.{place}"
    where = "that line of the program" if error.frame else f"{Path(source).name} from line {error.line_number}"
    fix = f"Not known. Read its message, and {where}. Whether running it again helps is not known either."
    return Diagnosis(
        code=STATED_FAILURE if own else UNKNOWN,
        symptom=error.line.strip(),
        cause=own["cause"] if own else cause,
        cure=own["fix"] if own else fix,
        source=source,
        line_number=error.line_number,
        frame=error.frame,
        ranks=() if error.rank is None else (error.rank,),
        retry="after_change" if own else "no",
        err_class="ERR_PROGRAM" if own or error.frame else None,
    )
