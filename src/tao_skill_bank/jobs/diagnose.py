"""Matches jobs and logs against known failures: symptom, cause and fix."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tao_skill_bank.contracts import JobRecord, State, contract
from tao_skill_bank.core import locations
from tao_skill_bank.core.masked_log import masked_log
from tao_skill_bank.jobs import service, unrecorded
from tao_skill_bank.jobs.failure_rules import rules
from tao_skill_bank.jobs.log_scan import Scan, scan
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import run_files
from tao_skill_bank.runs.run_directory import RunDirectory

RETRY = "tao-skills retry JOB"  # in a rule's fix
UNEXPLAINED = {"internal_error", "canceled"}  # trainer codes that give how it ended, not why


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


def diagnose(target: str | Path) -> list[Diagnosis]:
    """Return the failures of a job id or a log file, most likely root cause first.

    Raises:
        UnknownNameError: there is neither such a file nor a job with this id.

    """
    path = locations.absolute(target)
    if path.is_file():
        return diagnose_text(log_text(path), str(target))
    now = service.status(str(target))  # it may have ended unseen
    if now.state is State.UNKNOWN and now.findings:
        (why, *_) = now.findings
        return [Diagnosis(why.code, why.message, "Its state is not known from here.", why.fix, str(target))]
    return diagnose_job(unrecorded.record(JobStore().read(str(target)), now))


def diagnose_job(record: JobRecord) -> list[Diagnosis]:
    """Return the failures of a job from its status lines and its log; a single entry says so when none is found."""
    run = RunDirectory.of(record.results_dir, record.id)
    reported = list(_reported(run))
    found = []
    if run.log_file.is_file():
        found = diagnose_text(log_text(run.log_file), str(run.log_file))
    known = [diagnosis for diagnosis in found if diagnosis.code != "no_known_failure"]
    explained = [diagnosis for diagnosis in reported if diagnosis.code not in UNEXPLAINED]
    if explained or known:
        codes = {entry.code for entry in explained}
        every = [*explained, *(diagnosis for diagnosis in known if diagnosis.code not in codes)]
        return [replace(entry, cure=entry.cure.replace(RETRY, _resume(record))) for entry in every]
    if record.state is not State.ERROR:
        return [_no_failure(record, run)]
    return reported or [_unexplained(record, found)]


def diagnose_text(text: Iterable[str], source: str) -> list[Diagnosis]:
    """Return the failures in a log, first symptom first. Its text comes in pieces, masked; memory stays constant."""
    seen = scan(text, rules())
    known = [
        Diagnosis(rule.code, found.line.strip(), rule.cause, rule.cure, source, found.line_number, found.occurrences)
        for rule, found in seen.known.items()
    ]
    return known or [_unknown(seen, source)]


def log_text(path: Path) -> Iterator[str]:
    """Yield a log file in pieces, credentials masked."""
    return masked_log(run_files.log_text(path, lambda: True, follow=False))


def _reported(run: RunDirectory) -> Iterator[Diagnosis]:
    """Yield the failures that the trainer itself reported."""
    for number, line in enumerate(run.status_lines(), start=1):
        entry = line.get("diagnosis")
        if line.get("state") == "FAILURE" and entry is not None:
            code, cause, fix = (entry.get(name, "") for name in ("code", "cause", "cure"))
            yield Diagnosis(code, str(line.get("message") or cause), cause, fix, str(run.status_file), number)


def _unknown(seen: Scan, source: str) -> Diagnosis:
    found = seen.last_error or seen.last_line
    if found is None:
        cause, fix = (
            "The log is empty: the program did not start, or wrote nothing.",
            "See the job's state and message.",
        )
        return Diagnosis("no_known_failure", "", cause, fix, source)
    number = found.line_number
    what = "last error" if seen.last_error else "last line; the log has no error"
    cause = f"No known failure matches this log. Line {number} is its {what}."
    fix = f"Read {source} upwards from line {number}; the first error of the first rank that failed is the cause."
    return Diagnosis("no_known_failure", found.line.strip(), cause, fix, source, number)


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
