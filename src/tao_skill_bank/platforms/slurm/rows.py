"""What Slurm's commands print, read tolerantly: banners are skipped, and another form is quoted."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import answers

ErrorClass = Literal["ERR_INFRA", "ERR_PROGRAM"]

# Slurm's states to ours; a job in any other state that is still listed runs.
STATES: dict[str, tuple[State, ErrorClass | None]] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED"), (State.PENDING, None)),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SUSPENDED"), (State.RUNNING, None)),
    "COMPLETED": (State.COMPLETE, None),
    **dict.fromkeys(("FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"), (State.ERROR, "ERR_PROGRAM")),
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "PREEMPTED"), (State.ERROR, "ERR_INFRA")),
    **dict.fromkeys(("CANCELLED", "REVOKED"), (State.CANCELED, None)),
}

QUEUE_FORMAT = "%A|%T|%r"
ACCOUNT_FORMAT = "JobIDRaw,State,ExitCode,End"
PARTITION_FORMAT = "%P|%l|%a"
SIGNALED = 128

QUEUE_HEADER = re.compile(r"\s*[A-Z_]+\s*\|\s*[A-Z_]+\s*\|\s*[A-Z_]+\s*")
QUEUED = re.compile(r"\s*(\d+)\|\s*([A-Z_]+)\s*\|(.*)")
ACCOUNTED = re.compile(r"\s*(\d+)\|([A-Z_]+)[^|]*\|(\d+:\d+)\|([^|]*)")
PARTITION = re.compile(r"\s*([^|\s]+)\|([^|\s]+)\|([a-z]+)\s*")
NUMBER = re.compile(r"^(?:submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?$", re.IGNORECASE)
DEFAULT_COLUMNS = {"PARTITION": "name", "TIMELIMIT": "limit", "AVAIL": "state"}  # of an sinfo that ignores its format


@dataclass(frozen=True)
class Listed:
    """One line of squeue, sacct or scontrol. `ended_at` is seconds since 1970 where the job has ended."""

    number: str
    word: str
    reason: str = ""
    exit_code: int | None = None
    ended_at: float | None = None

    @property
    def meaning(self) -> tuple[State, ErrorClass | None]:
        return STATES.get(self.word, (State.RUNNING, None))


@dataclass(frozen=True)
class Partition:
    """A partition as sinfo lists it: its longest time limit, and `up` where it starts jobs."""

    name: str
    limit: str
    state: str
    is_default: bool = False


def queued(text: str) -> Listed | None:
    """Return the last job that squeue lists; None where it lists none.

    Raises:
        BackendError: it printed something, and neither its header nor a job.

    """
    found = [row for line in text.splitlines() if (row := QUEUED.fullmatch(line))]
    if found:
        number, word, reason = found[-1].groups()
        reason = reason.strip()
        return Listed(number, word, "" if reason == "None" else reason)
    lines = text.splitlines()
    header = next((number for number, line in enumerate(lines) if QUEUE_HEADER.fullmatch(line)), -1)
    rest = "\n".join(lines[header + 1 :])  # what is before the header is a banner
    if rest.strip():
        raise odd("squeue", rest)
    return None


def accounted(text: str) -> Listed | None:
    """Return the last job that sacct lists; None where it lists none in the known form."""
    found = [row for line in text.splitlines() if (row := ACCOUNTED.fullmatch(line))]
    if not found:
        return None
    number, word, code, end = found[-1].groups()
    return Listed(number, word, "", _exit_code(code), _epoch(end))


def remembered(text: str, name: str, number: str) -> Listed | None:
    """Return the job of `scontrol show job`; None where it is another one.

    Raises:
        BackendError: it is this job, and has no state.

    """
    found = fields(text)
    if found.get("JobName") != name:  # the job is purged, or its number was reused
        return None
    word = re.match(r"[A-Z_]+", found.get("JobState", ""))
    if word is None:
        raise odd("scontrol", text)
    return Listed(number, word[0], "", _exit_code(found.get("ExitCode", "")), _epoch(found.get("EndTime", "")))


def fields(text: str) -> dict[str, str]:
    """Return the KEY=VALUE words of scontrol; of a key that comes again, as in a comment, the first value."""
    found: dict[str, str] = {}
    for word in text.split():
        key, separator, value = word.partition("=")
        if separator:
            found.setdefault(key, value)
    return found


def submitted(text: str) -> int | None:
    """Return the job's number that sbatch prints, whatever is around it; None where none or several are there."""
    found = {match[1] for line in text.splitlines() if (match := NUMBER.match(line.strip()))}
    return int(found.pop()) if len(found) == 1 else None


def partitions(text: str) -> list[Partition]:
    """Return the partitions that sinfo lists, also in the columns of its default format.

    Raises:
        BackendError: it printed something, and no partition.

    """
    found = list(_formatted(text)) or list(_default_columns(text))
    if not found and text.strip():
        raise odd("sinfo", text)
    return found


def odd(program: str, text: str) -> BackendError:
    """Return the error of an answer in another form, with its first line that looks like data."""
    line = next((line for line in text.splitlines() if re.match(r"\s*\d", line)), answers.first_line(text))
    fix = f"Replace what changes the output of {program} there (an alias, a wrapper), or ask the cluster's operators."
    return answers.not_understood("slurm_not_understood", program, line, fix)


def _formatted(text: str) -> Iterator[Partition]:
    for line in text.splitlines():
        if row := PARTITION.fullmatch(line):
            name, limit, state = row.groups()
            yield Partition(name.rstrip("*"), limit, state, name.endswith("*"))


def _default_columns(text: str) -> Iterator[Partition]:
    lines = [line.split() for line in text.splitlines()]
    start = next((number for number, words in enumerate(lines) if set(DEFAULT_COLUMNS) <= set(words)), None)
    if start is None:
        return
    places = {field: lines[start].index(title) for title, field in DEFAULT_COLUMNS.items()}
    seen: set[str] = set()
    for words in lines[start + 1 :]:
        if len(words) <= max(places.values()) or words[places["state"]] not in ("up", "down", "drain", "inact"):
            continue
        values = {field: words[place] for field, place in places.items()}
        name = values.pop("name")
        if name not in seen:  # one line for each state of its nodes
            seen.add(name)
            yield Partition(name.rstrip("*"), **values, is_default=name.endswith("*"))


def _exit_code(text: str) -> int | None:
    """Return the exit code of `CODE:SIGNAL`; None where the text has none."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        return None
    code, signal = int(found[1]), int(found[2])
    return SIGNALED + signal if signal else code


def _epoch(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
