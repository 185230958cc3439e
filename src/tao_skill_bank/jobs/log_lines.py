"""What a single line of a log is: of which rank, of which level, and what of it is quoted data."""

import re
from typing import Literal

# A time stamp, then who wrote the line: "[rank3]: ", "(worker pid=7) " or, from srun --label, "3: ".
PREFIX = re.compile(
    r"^(?:\d{4}-\d\d-\d\d[T ][\d:.,]{5,18}(?:Z|[+-]\d\d:?\d\d)? )?"
    r"(?P<writer>\[[\w .-]{1,40}\]:|\([\w .,=:-]{1,60}\)|\d{1,5}:(?= ))? ?"
)
RANK = re.compile(
    r"^\[(?:rank|default)(\d{1,5})\]|\[Rank (\d{1,5})\]|^(\d{1,5}): |:\d+:\d+ \[(\d{1,5})\] NCCL "
    r"|^\s+rank\s+: (\d{1,5}) \(local_rank"
)
LEVEL = re.compile(
    r"(?:^|[\s\[(|<\x1b])(?P<nccl>NCCL )?"
    r"(?P<word>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)(?=[\s:\])|>,]|$)"
    r"|(?:^|[\s\[:])(?P<letter>[IWEF])\d{4} \d\d:\d\d:\d\d"
    r"|\[(?P<old>[IWEF]) [\w.]+:\d+\]"
    r"|\b(?:level|levelname|severity)[\"']?\s{0,2}[=:]\s{0,2}[\"']?(?P<field>[A-Za-z]+)"
)
Level = Literal["", "warning", "info"]
QUIET_WORDS: dict[str, Level] = {
    **dict.fromkeys(("trace", "debug", "info", "notice"), "info"),
    **dict.fromkeys(("warn", "warning"), "warning"),
}
LETTERS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}
LOUD_WORDS = frozenset({"error", "critical", "fatal"})
WARNING = re.compile(
    r"^(?:[\w.-]{1,30}: )?(?:warning|info|note|debug\d?): |(?:^|[\s:])[A-Za-z]{0,40}Warning: ", re.IGNORECASE
)
LEVEL_CHARACTERS = 160  # of a line, in which its level stands
DATA = re.compile(
    r"(?:^|[\s{,(\[\"'])(?:negative[_ ])?"
    r"(?:prompts?|captions?|questions?|answers?|instructions?|conversations?|content|texts?|responses?|completions?"
    r"|generated|predictions?|predicted|references?|user|assistant|human|gpt|query|queries|chat|messages)"
    r"[\"']?\s{0,2}[:=]\s{0,2}(?P<quote>[\"'`])?",
    re.IGNORECASE,
)
TROUBLE = re.compile(r"error|exception|fatal|failed|cannot|could not", re.IGNORECASE)


def writer(line: str) -> tuple[str, str]:
    """Return who wrote a line, as its prefix names them, and the line without that prefix and its time stamp."""
    found = PREFIX.match(line)
    return ("", line) if found is None else (found["writer"] or "", line[found.end() :])


def rank(line: str) -> int | None:
    """Return the rank that a line is of or about; None where it names none."""
    found = RANK.search(line, 0, LEVEL_CHARACTERS)
    return None if found is None else next(int(number) for number in found.groups() if number is not None)


def level(line: str) -> Level:
    """Return the level that a line states, as far as it is no error: `info` for those below, empty for none."""
    found = LEVEL.search(line, 0, LEVEL_CHARACTERS)
    if found is not None:
        word = LETTERS.get(found["letter"] or found["old"] or "", (found["word"] or found["field"] or "").lower())
        if word in LOUD_WORDS or (found["nccl"] and word == "warn"):  # NCCL reports its errors so
            return ""
        if word in QUIET_WORDS:
            return QUIET_WORDS[word]
    return "warning" if WARNING.search(writer(line)[1], 0, LEVEL_CHARACTERS) is not None else ""


def quotes(line: str, position: int) -> bool:
    """Return whether what begins at a position is data that the line repeats: a prompt, a caption, an answer."""
    for found in DATA.finditer(line):
        if found.start() >= position:
            return False
        if found["quote"]:
            end = line.find(found["quote"], found.end())
            if end < 0 or end > position:
                return True
        elif TROUBLE.search(line, 0, found.start()) is None:
            return True
    return False
