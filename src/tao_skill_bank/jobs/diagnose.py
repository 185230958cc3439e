"""Finds why a job or a log failed: its root cause with place, fix and retry, and what only follows from it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_skill_bank import platforms
from tao_skill_bank.contracts import JobRecord, State
from tao_skill_bank.core import locations
from tao_skill_bank.core.masked_log import masked_log
from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.jobs import diagnosis, service, unrecorded
from tao_skill_bank.jobs.diagnosis import ORDERS, UNKNOWN, Diagnosis, Ranked
from tao_skill_bank.jobs.failure_rules import of_code, rules
from tao_skill_bank.jobs.log_scan import Scan, Symptom, scan
from tao_skill_bank.jobs.sized_fix import PlannedRun
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import run_files
from tao_skill_bank.runs import status_lines
from tao_skill_bank.runs.run_directory import RunDirectory, json_lines_with

__all__ = ["Diagnosis", "diagnose", "diagnose_job", "diagnose_text", "log_text", "rules"]

RETRY = "tao-skills retry JOB"  # in a rule's fix
UNEXPLAINED = {"internal_error", "canceled", "peer_died"}  # trainer codes that give how it ended, not why
EXPLAINED = -1  # the order of what the trainer itself explains: before anything that its log may mean


def diagnose(target: str | Path, skill: str | None = None) -> list[Diagnosis]:
    """Return the failures of a job id or a log file, the likeliest root cause first.

    Args:
        target: a job id, or a log file. For one in a run directory the plan there is used.
        skill: the model skill that wrote a log file; only its rules and keys are used then.

    Raises:
        UnknownNameError: there is neither such a file nor a job with this id, or no such skill.

    """
    path = locations.absolute(target)
    if path.is_file():
        run = PlannedRun.of(RunDirectory(path.parent.parent).plan_document()) if path.parent.name == "logs" else None
        package = _package(skill) if skill is not None else ""
        return diagnose_text(log_text(path), str(target), run, package)
    now = service.status(str(target))  # it may have ended unseen
    if now.state is State.UNKNOWN and now.findings:
        (why, *_) = now.findings
        return [Diagnosis(why.code, why.message, "Its state is not known from here.", why.fix, str(target))]
    return diagnose_job(unrecorded.record(JobStore().read(str(target)), now))


def diagnose_job(record: JobRecord) -> list[Diagnosis]:
    """Return the failures of a job from its status lines and its logs; a single entry says so when none is found."""
    run = RunDirectory.of(record.results_dir, record.id)
    if record.state is State.COMPLETE:
        return [_no_failure(record, run)]
    planned = PlannedRun.of(run.plan_document())
    package, action = (planned.package, planned.action) if planned else ("", "")
    reported = [_reported(entry, record, package, action) for entry in _failure_lines(run)]
    explained = [entry for entry in reported if entry.order == EXPLAINED]
    scans, problems = _scans(record, run)
    found = [entry for source, seen in scans for entry in diagnosis.in_log(seen, source, package, action)]
    if explained:  # a log repeats in its own words what the trainer says
        found = [entry for entry in found if entry.rule is not None]
    ranked = diagnosis.ordered(_once([*explained, *found]))
    if not any(entry.order <= ORDERS["suspicion"] for entry in ranked) and record.state is State.ERROR:
        ranked = diagnosis.ordered([*ranked, *reported])
    if ranked:
        return [_finished(entry, record, planned) for entry in ranked] + problems
    if record.state is not State.ERROR:
        return problems or [_no_failure(record, run)]
    return [_unexplained(record, scans, is_readable=not problems), *problems]


def diagnose_text(
    text: Iterable[str], source: str, run: PlannedRun | None = None, package: str = ""
) -> list[Diagnosis]:
    """Return the failures in a log, the likeliest root cause first.

    Its text comes in pieces, masked; memory stays constant. A single entry says so where no line reports an error.
    """
    name, action = (run.package, run.action) if run is not None else (package, "")
    seen = scan(text, rules())
    ranked = diagnosis.ordered(diagnosis.in_log(seen, source, name, action))
    return [_sized(entry, run) for entry in ranked] or [_nothing(seen, source)]


def _package(skill: str) -> str:
    from tao_skill_bank.bank import catalog  # named for a log file alone

    return catalog.find(skill).info.package


def log_text(path: Path) -> Iterator[str]:
    """Yield a log file in pieces, credentials masked."""
    return masked_log(run_files.log_text(path, lambda: True, follow=False))


def _scans(record: JobRecord, run: RunDirectory) -> tuple[list[tuple[str, Scan]], list[Diagnosis]]:
    """Return what the logs of all nodes show, and why one cannot be read; from the platform where none is seen here."""
    files = [path for path in (run.log_file, *sorted(run.log_file.parent.glob("node_*.log"))) if path.is_file()]
    if files:
        return [(str(path), scan(log_text(path), rules())) for path in files], []
    try:
        text = masked_log(platforms.load(record.platform).logs(record, follow=False))
        return [(f"the log of {record.id}", scan(text, rules()))], []
    except TaoSkillsError as error:
        return [], [_unreadable(problem, record) for problem in error.problems]


def _unreadable(problem: Problem, record: JobRecord) -> Diagnosis:
    cause = f"The log of job {record.id} cannot be read, so what it would show is not known. {problem.message}"
    return Diagnosis("log_unreadable", problem.message, cause, problem.fix, record.results_dir, role="also")


def _once(found: Iterable[Ranked]) -> Iterator[Ranked]:
    """Leave out what a log repeats of a failure that the trainer explains, by its code or one that refines it."""
    explained: set[str] = set()
    for entry in found:
        refined = set(entry.rule.refines) if entry.rule is not None else set()
        if entry.order == EXPLAINED:
            explained |= {entry.diagnosis.code, *refined}
        elif explained & {entry.diagnosis.code, *refined}:
            continue
        yield entry


def _failure_lines(run: RunDirectory) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield the failures that the trainer itself reported: line number, line and file."""
    for number, line in json_lines_with(run.status_file, b"FAILURE"):
        entry = status_lines.plain(line)
        if entry.get("state") == "FAILURE" and entry.get("diagnosis") is not None:
            yield number, entry, str(run.status_file)


def _reported(failure: tuple[int, dict[str, Any], str], record: JobRecord, package: str, action: str) -> Ranked:
    """Return what the trainer reported. A failure that a rule calls a suspicion or a follower stays one."""
    number, line, source = failure
    code, cause, fix = (line["diagnosis"].get(name, "") for name in ("code", "cause", "cure"))
    rule = of_code("peer_lost" if code == "peer_died" else code, package, action)
    is_vague = rule is not None and rule.standing in ("suspicion", "follower")
    order = ORDERS[rule.standing] if rule is not None and is_vague else EXPLAINED
    is_lost = record.err_class == "ERR_INFRA"
    found = Diagnosis(
        code=code,
        symptom=str(line.get("message") or cause),
        cause=cause,
        cure=fix,
        source=source,
        line_number=number,
        retry=rule.retry if rule else "yes" if is_lost else "after_change",
        err_class=rule.err_class if rule else record.err_class or "ERR_PROGRAM",
    )
    if code in UNEXPLAINED:
        order, found = diagnosis.COMPLAINT, replace(found, retry="yes" if is_lost else "no")
    return Ranked(found, order, rule)


def _finished(entry: Ranked, record: JobRecord, planned: PlannedRun | None) -> Diagnosis:
    found = _sized(entry, planned)
    return replace(found, cure=found.cure.replace(RETRY, _resume(record)))


def _sized(entry: Ranked, planned: PlannedRun | None) -> Diagnosis:
    """Return a diagnosis with the overrides that resolve it, where the plan says what the values are now."""
    found, rule = entry.diagnosis, entry.rule
    if rule is None or planned is None or found.role == "follower" or found.retry != "after_change":
        return found
    overrides = planned.overrides(rule.steps)
    if not overrides:
        return found
    words = ", ".join(planned.change(path, value) for path, value in overrides.items())
    return replace(
        found, fix_set=overrides, cure=f"First try {words}: the next value that the other settings allow. {found.cure}"
    )


def _nothing(seen: Scan, source: str) -> Diagnosis:
    """Return that no line of a log reports an error."""
    last = seen.last_line
    if last is None:
        cause = "The log is empty: the program did not start, or wrote nothing."
        return Diagnosis(UNKNOWN, "", cause, "See the job's state and message.", source)
    cause = f"No line of this log reports an error. Its last line is line {last.line_number}."
    fix = "If the program has ended, it was killed from outside: see the job's state, or its machine's log (dmesg)."
    return Diagnosis("no_failure", last.line.strip(), cause, fix, source, last.line_number)


def _no_failure(record: JobRecord, run: RunDirectory) -> Diagnosis:
    shown = (
        "its results are complete"
        if record.state is State.COMPLETE
        else "neither its log nor its status lines show a known failure"
    )
    cause = f"The job is {record.state}; {shown}."
    verb = "report" if record.state.is_terminal else "logs --follow"
    return Diagnosis("no_failure", "none", cause, f"See: tao-skills {verb} {record.id}", str(run.log_file))


def _resume(record: JobRecord) -> str:
    """Return the command that resumes a job: a retry where an infrastructure failure ended it."""
    is_search = RunDirectory.of(record.results_dir, record.id).plan_document().get("study") is not None
    may_retry = record.err_class == "ERR_INFRA" and not (record.is_unexplained and record.retry_of) and not is_search
    return f"tao-skills retry {record.id}" if may_retry else run_files.resume_command(record)


def _unexplained(record: JobRecord, scans: list[tuple[str, Scan]], *, is_readable: bool) -> Diagnosis:
    """Return the diagnosis of a failed job whose logs explain nothing: the record's own reason comes first."""
    reason = record.transitions[-1].message
    log = "Its log explains nothing." if is_readable else "Its log cannot be read."
    if record.err_class == "ERR_INFRA":
        fix, source = f"Resume it with: {_resume(record)}", record.results_dir
        return Diagnosis("machine_lost", reason, f"{reason} {log}", fix, source, retry="yes", err_class="ERR_INFRA")
    source, seen = scans[0] if scans else (record.results_dir, Scan())
    last = seen.last_line or Symptom(0, "")
    if last.line_number:
        log = f"No line of its log reports an error; line {last.line_number} is its last."
    elif is_readable:
        log = "Its log is empty." if scans else "It has no log."
    fix = f"Run it again; see: tao-skills status {record.id}"
    found = Diagnosis(UNKNOWN, last.line.strip(), f"{reason} {log}", fix, source, last.line_number)
    return replace(found, err_class=record.err_class)
