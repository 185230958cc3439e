"""Errors in a log that no rule knows: the first traceback, with its last frame, and the first line of another kind."""

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tao_skill_bank.core.prefilter import Prefilter
from tao_skill_bank.jobs import log_lines

HEADERS = re.compile(r"Traceback \(most recent call last\)")
HEADER = re.compile(r"^(?:Original |\s*[+|] (?:Exception Group )?)?Traceback \(most recent call last\):")
FRAME = re.compile(r'^\s+(?:[|+] )?File "(?P<file>[^"]{1,500})", line (?P<line>\d+)(?:, in (?P<name>\S{1,200}))?')
CHAINS = ("During handling of the above exception", "The above exception was the direct cause")
# Lines that may be errors; what they are is decided by the exact patterns below, for these lines alone.
SUSPECTS = re.compile(
    r"Traceback \(most recent call last\)|(?:Error|Exception)\b: |\b(?:ERROR|CRITICAL|FATAL)\b"
    r"|[\])]:? ?(?:error|fatal): |Segmentation fault|core dumped|terminate called"
    r"|level[\"']?\s?[=:]\s?[\"']?(?:error|fatal)\b"
)
PLAIN_STARTS = (b"error: ", b"fatal: ")
PLAIN_LINES = re.compile(rb"\n(?:error|fatal): ")
COMPLAINT = re.compile(
    r"^(?:error|fatal): |^[\w.]{0,80}(?:Error|Exception): (?![-+]?[\d.]+(?:e[-+]?\d+)?\s*$)"
    r"|Segmentation fault|core dumped|^terminate called"
)
LOUD = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b|level[\"']?\s?[=:]\s?[\"']?(?:error|fatal)\b")
# Exceptions that only repeat what another traceback says.
REPEATED = re.compile(r"Caught \w+ in |CalledProcessError: |^(?:SystemExit|KeyboardInterrupt)\b")
STATED = re.compile(r"^error: (?P<cause>.{1,1500}?) Fix: (?P<fix>.+)$")
MAX_LINE_LENGTH = 2000  # longer lines are cut: no symptom starts that late, and patterns get slow
MAX_LINE_BYTES = 4 * MAX_LINE_LENGTH
MAX_TRACEBACKS = 100  # that are read in all: one that is chained to the first unknown one follows soon
MAX_TRACEBACK_LINES = 5000  # of all ranks together
MAX_FRAMES_ABOVE = 8  # lines between an exception and its last frame: source text and markers
LOOK_BACK = 400


@dataclass
class Error:
    """A line that ended a program, its number from 1, the last frame of its traceback and the rank that wrote it."""

    line_number: int
    line: str
    frame: str = ""
    rank: int | None = None


@dataclass
class _Open:
    """A traceback whose exception has not been read yet, and how many lines of anybody came since its start."""

    is_chained: bool
    frame: str = ""
    num_lines: int = 0


class ErrorFinder:
    """Finds the first traceback that no rule explains, and the first other error, in blocks of whole lines."""

    def __init__(self, explains: Callable[[str], bool]) -> None:
        self.traceback: Error | None = None
        self.complaint: Error | None = None
        self._explains = explains
        self.wanted: tuple[re.Pattern[str], ...] = (SUSPECTS,)  # what lines that are to be looked at match
        self._num_closed = 0
        self._open: dict[str, _Open] = {}  # by who writes it
        self._last: Error | None = None
        self.above = b""  # the end of the blocks before the next one

    def may_be_in(self, block: bytes) -> bool:
        """Return whether a block is to be looked at although nothing in it looks like an error otherwise."""
        if self._open or self.complaint is not None:
            return bool(self._open)
        return any(b"\n" + word in block or block.startswith(word) for word in PLAIN_STARTS)

    def look_at(self, block: bytes, lines_before: int) -> None:
        """Look at the next block of a log, which `lines_before` lines precede."""
        position = self._follow(block, 0, lines_before)
        plain = _plain_starts(block) if self.complaint is None else ()
        for start in heapq.merge(starts(Prefilter(self.wanted), block), plain):
            if start >= position:
                line = text_at(block, start)
                if self._opens(block, start, line):
                    position = self._follow(block, block.index(b"\n", start) + 1, lines_before)
                elif self.complaint is None:
                    self._complain(block, start, line, lines_before)
        is_done = self.traceback is not None and self._num_closed >= MAX_TRACEBACKS
        self.wanted = (SUSPECTS,) if self.complaint is None else () if is_done else (HEADERS,)

    def _opens(self, block: bytes, start: int, line: str) -> bool:
        writer, rest = log_lines.writer(line)
        if HEADER.match(rest) is None:
            return False
        self._open.setdefault(writer, _Open(self._is_chained(block, start)))
        return True

    def _is_chained(self, block: bytes, start: int) -> bool:
        above = (self.above + block[max(0, start - LOOK_BACK) : start]).decode("utf-8", "replace").rstrip()
        return any(mark in above.rsplit("\n", 1)[-1] for mark in CHAINS)

    def _complain(self, block: bytes, start: int, line: str, lines_before: int) -> None:
        _, rest = log_lines.writer(line)
        found = COMPLAINT.search(rest) or LOUD.search(rest, 0, log_lines.LEVEL_CHARACTERS)
        if found is None or log_lines.level(line) or log_lines.quotes(line, len(line) - len(rest) + found.start()):
            return
        if not self._explains(line):
            self.complaint = Error(
                number_of(block, start, lines_before),
                line,
                frame_above(self.above + block, len(self.above) + start),
                log_lines.rank(line),
            )

    def _follow(self, block: bytes, position: int, lines_before: int) -> int:
        """Read on while tracebacks are open, of several ranks at once; return where the reading ended."""
        while self._open and position < len(block):
            line = text_at(block, position)
            writer, rest = log_lines.writer(line)
            opened = self._open.get(writer)
            if self._opens(block, position, line) or opened is None:
                pass
            elif (found := FRAME.match(rest)) is not None:
                opened.frame = frame_text(found)
            elif rest and not rest[0].isspace():
                number = number_of(block, position, lines_before)
                self._close(self._open.pop(writer), Error(number, line, opened.frame, log_lines.rank(line)))
            self._grow_old()
            position = block.index(b"\n", position) + 1
        return position

    def _grow_old(self) -> None:
        for writer, opened in list(self._open.items()):
            opened.num_lines += 1
            if opened.num_lines > MAX_TRACEBACK_LINES:
                del self._open[writer]

    def _close(self, opened: _Open, error: Error) -> None:
        """Note the end of a traceback; in a chain, the last exception is the one that ended the program."""
        self._num_closed += 1
        if self.traceback is not None and self._num_closed > MAX_TRACEBACKS:
            return
        if REPEATED.search(log_lines.writer(error.line)[1]):
            return
        if self._explains(error.line):
            self.traceback = None if opened.is_chained and self._last is self.traceback else self.traceback
        elif self.traceback is None or (opened.is_chained and self._last is self.traceback):
            self.traceback = error
        self._last = error


def _plain_starts(block: bytes) -> Iterator[int]:
    """Yield the start of each line that starts as the messages of many programs do."""
    for word in PLAIN_STARTS:
        if block.startswith(word):
            yield 0
    if any(b"\n" + word in block for word in PLAIN_STARTS):
        yield from (match.start() + 1 for match in PLAIN_LINES.finditer(block))


def starts(prefilter: Prefilter, block: bytes) -> Iterator[int]:
    """Yield the start of each line that a prefilter finds."""
    position = 0
    while position < len(block) and (found := prefilter.find(block, position)) >= 0:
        start = block.rfind(b"\n", position, found) + 1 or position
        yield start
        position = block.index(b"\n", start) + 1


def text_at(block: bytes, start: int) -> str:
    """Return a line as rules look at it: cut, without space at its end."""
    end = min(block.index(b"\n", start), start + MAX_LINE_BYTES)
    return block[start:end].decode("utf-8", "replace")[:MAX_LINE_LENGTH].rstrip()


def number_of(block: bytes, start: int, lines_before: int) -> int:
    """Return the number of a line, counted from 1."""
    return lines_before + block.count(b"\n", 0, start) + 1


def frame_above(block: bytes, start: int) -> str:
    """Return the last frame of the traceback that a line ends; empty where it ends none."""
    writer, _ = log_lines.writer(text_at(block, start))
    for _ in range(MAX_FRAMES_ABOVE):
        if start <= 0:
            break
        start = block.rfind(b"\n", 0, start - 1) + 1
        other, rest = log_lines.writer(text_at(block, start))
        if other == writer and (found := FRAME.match(rest)):
            return frame_text(found)
        if other == writer and rest and not rest[0].isspace():
            break
    return ""


def frame_text(found: re.Match[str]) -> str:
    """Return a frame as `file:line, in name`."""
    return f"{found['file']}:{found['line']}" + (f", in {found['name']}" if found["name"] else "")
