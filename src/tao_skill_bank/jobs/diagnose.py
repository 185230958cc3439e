"""Matches logs against known failures: symptom, cause and fix. The rules are data, found by location."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from tao_skill_bank import models
from tao_skill_bank.contracts import JobRecord, State, contract
from tao_skill_bank.core import locations, yaml12
from tao_skill_bank.core.redact import redacted
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import run_files
from tao_skill_bank.runs.run_directory import RunDirectory

RULE_FILE = "failures.yaml"
RETRY = "tao-skills retry JOB"  # in a rule's fix
MAX_LINE_LENGTH = 2000  # longer lines are cut: no symptom starts that late, and patterns get slow
UNEXPLAINED = {"internal_error", "canceled"}  # trainer codes that give how it ended, not why
ERROR_WORDS = ("error", "exception", "fatal", "traceback", "failed", "killed", "abort")


@contract
class Diagnosis:
    """A failure, its cause and its fix (`cure`); `line_number` counts the symptom's place in `source` from 1."""

    code: str
    symptom: str
    cause: str
    cure: str
    source: str
    line_number: int = 0
    occurrences: int = 1


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
        return _holds(lowered, self.words) and self.pattern.search(line) is not None


@dataclass
class _Findings:
    """The findings of one pass over a log so far."""

    matches: dict[Rule, Diagnosis] = field(default_factory=dict)
    contexts: set[Rule] = field(default_factory=set)
    last_line: tuple[int, str] = (0, "")
    last_error: tuple[int, str] = (0, "")


def diagnose(target: str | Path) -> list[Diagnosis]:
    """Return the failures of a job id or a log file, most likely root cause first.

    Raises:
        UnknownNameError: there is neither such a file nor a job with this id.

    """
    path = locations.absolute(target)
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            return diagnose_lines(file, str(target))
    service.status(str(target))  # it may have ended unseen
    return diagnose_job(JobStore().read(str(target)))


def diagnose_job(record: JobRecord) -> list[Diagnosis]:
    """Return the failures of a job from its status lines and its log; a single entry says so when none is found."""
    run = RunDirectory.of(record.results_dir, record.id)
    reported = list(_reported(run))
    found = []
    if run.log_file.is_file():
        with run.log_file.open(encoding="utf-8", errors="replace") as file:
            found = diagnose_lines(file, str(run.log_file))
    known = [diagnosis for diagnosis in found if diagnosis.code != "no_known_failure"]
    explained = [diagnosis for diagnosis in reported if diagnosis.code not in UNEXPLAINED]
    if explained or known:
        codes = {entry.code for entry in explained}
        every = [*explained, *(diagnosis for diagnosis in known if diagnosis.code not in codes)]
        return [replace(entry, cure=entry.cure.replace(RETRY, _resume(record))) for entry in every]
    if record.state is not State.ERROR:
        return [_no_failure(record, run)]
    return reported or [_unexplained(record, found)]


def diagnose_lines(lines: Iterable[str], source: str) -> list[Diagnosis]:
    """Return the failures in log lines, first symptom first; reads a log of any size in constant memory."""
    seen = _Findings()
    for number, line in enumerate(lines, start=1):
        _look_at(redacted(line.rstrip()[:MAX_LINE_LENGTH]), number, source, seen)
    known = [diagnosis for rule, diagnosis in seen.matches.items() if not rule.context or rule in seen.contexts]
    return sorted(known, key=lambda diagnosis: diagnosis.line_number) or [_unknown(seen, source)]


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


def _look_at(line: str, number: int, source: str, seen: _Findings) -> None:
    lowered = line.lower()
    if line:
        seen.last_line = (number, line)
    if _holds(lowered, ERROR_WORDS):
        seen.last_error = (number, line)
    for rule in rules():
        if rule.context and rule not in seen.contexts and _holds(lowered, rule.context):
            seen.contexts.add(rule)
        if rule.matches(line, lowered):
            first = Diagnosis(rule.code, line.strip(), rule.cause, rule.cure, source, number, occurrences=0)
            earlier = seen.matches.get(rule, first)
            seen.matches[rule] = replace(earlier, occurrences=earlier.occurrences + 1)


def _holds(lowered: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 - any() takes twice as long, and this runs for every rule and line
        if word in lowered:
            return True
    return False


def _reported(run: RunDirectory) -> Iterator[Diagnosis]:
    """Yield the failures that the trainer itself reported."""
    for number, line in enumerate(run.status_lines(), start=1):
        entry = line.get("diagnosis")
        if line.get("state") == "FAILURE" and entry is not None:
            code, cause, fix = (entry.get(name, "") for name in ("code", "cause", "cure"))
            yield Diagnosis(code, str(line.get("message") or cause), cause, fix, str(run.status_file), number)


def _unknown(seen: _Findings, source: str) -> Diagnosis:
    number, line = seen.last_error if seen.last_error[0] else seen.last_line
    if not number:
        cause, fix = (
            "The log is empty: the program did not start, or wrote nothing.",
            "See the job's state and message.",
        )
    else:
        what = "last error" if seen.last_error[0] else "last line; the log has no error"
        cause = f"No known failure matches this log. Line {number} is its {what}."
        fix = f"Read {source} upwards from line {number}; the first error of the first rank that failed is the cause."
    return Diagnosis("no_known_failure", line.strip(), cause, fix, source, number)


def _no_failure(record: JobRecord, run: RunDirectory) -> Diagnosis:
    cause = f"The job is {record.state}; neither its log nor its status lines show a known failure."
    verb = "report" if record.state.is_terminal else "logs --follow"
    return Diagnosis("no_failure", "none", cause, f"See: tao-skills {verb} {record.id}", str(run.log_file))


def _resume(record: JobRecord) -> str:
    """Return the command that resumes a job: a retry where an infrastructure failure ended it."""
    is_search = RunDirectory.of(record.results_dir, record.id).plan_document().get("study") is not None
    may_retry = record.err_class == "ERR_INFRA" and not (record.is_unexplained and record.retry_of) and not is_search
    return f"tao-skills retry {record.id}" if may_retry else run_files.resume_command(record)


def _unexplained(record: JobRecord, found: list[Diagnosis]) -> Diagnosis:
    """Return the diagnosis of a failed job whose log explains nothing: the record's own reason comes first."""
    reason = record.transitions[-1].message
    log = found[0] if found else None
    cause = f"{reason} {log.cause if log else 'It has no log.'}"
    fix = log.cure if log and log.line_number else f"Run it again; see: tao-skills status {record.id}"
    if record.err_class == "ERR_INFRA":
        return Diagnosis(
            "machine_lost",
            reason,
            f"{reason} Its log explains nothing.",
            f"Resume it with: {_resume(record)}",
            record.results_dir,
        )
    symptom = log.symptom if log else ""
    return Diagnosis(
        "no_known_failure",
        symptom,
        cause,
        fix,
        log.source if log else record.results_dir,
        log.line_number if log else 0,
    )
