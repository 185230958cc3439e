"""One pass over a log of any size, in constant memory: the lines that match known failures, and its first error."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tao_skill_bank.core.prefilter import Prefilter, any_of
from tao_skill_bank.jobs import log_lines
from tao_skill_bank.jobs.failure_rules import Rule, holds
from tao_skill_bank.jobs.tracebacks import (
    MAX_LINE_BYTES,
    Error,
    ErrorFinder,
    frame_above,
    number_of,
    starts,
    text_at,
)

MAX_RANKS = 4096  # that are listed
TAIL_BYTES = 8192  # of the block before, in which the frames of an exception may lie


@dataclass
class Symptom:
    """The first line that matches a rule, its number from 1, how many lines do, and which ranks wrote them."""

    line_number: int
    line: str
    occurrences: int = 0
    frame: str = ""
    ranks: set[int] = field(default_factory=set)


@dataclass
class Scan:
    """What a log shows, by rule, and its first traceback and other error that no rule explains."""

    matches: dict[Rule, Symptom] = field(default_factory=dict)
    contexts: set[Rule] = field(default_factory=set)
    last_line: Symptom | None = None
    traceback: Error | None = None
    complaint: Error | None = None

    @property
    def known(self) -> dict[Rule, Symptom]:
        """The matches of the rules whose context was seen, first line first."""
        found = {rule: seen for rule, seen in self.matches.items() if not rule.context or rule in self.contexts}
        return dict(sorted(found.items(), key=lambda entry: entry[1].line_number))


def scan(text: Iterable[str], rules: Sequence[Rule]) -> Scan:
    """Return what a log shows. Its text comes in pieces; lines end as in text files, by any of the three line ends."""
    scanner = _Scanner(rules)
    for block in _blocks(text):
        scanner.look_at(block)
    scanner.seen.traceback, scanner.seen.complaint = scanner.errors.traceback, scanner.errors.complaint
    return scanner.seen


def _blocks(text: Iterable[str]) -> Iterator[bytes]:
    """Yield blocks of whole lines that end in line feeds; of a long line only what is looked at is kept."""
    rest = held = b""
    is_cut = False
    for piece in text:
        new = held + piece.encode("utf-8", "replace")
        held = b"\r" if new.endswith(b"\r") else b""  # a line feed may follow
        if b"\r" in new:
            new = new[: len(new) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if is_cut:
            new = new[new.find(b"\n") :] if b"\n" in new else b""
        block = rest + new
        end = block.rfind(b"\n") + 1
        if end:
            yield block[:end]
        rest = block[end:]
        is_cut = (is_cut and not end) or len(rest) > MAX_LINE_BYTES
        rest = rest[:MAX_LINE_BYTES]
    if rest or held:
        yield rest + b"\n"


class _Scanner:
    """Exact rules look at the lines only that a prefilter finds, in the whole block at once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.seen = Scan()
        self._rules = rules
        self._num_lines = 0
        self._suspects = Prefilter(rule.pattern for rule in rules)
        self.errors = ErrorFinder(self._explains)
        self._narrow()

    def _narrow(self) -> None:
        """Look no longer for contexts and errors that were seen."""
        self._unseen = [rule for rule in self._rules if rule.context and rule not in self.seen.contexts]
        contexts = [any_of(rule.context) for rule in self._unseen]
        self._contexts = Prefilter(contexts)
        self._any = Prefilter([*(rule.pattern for rule in self._rules), *contexts, *self.errors.wanted])

    def look_at(self, block: bytes) -> None:
        before = len(self.seen.contexts), self.errors.wanted
        is_suspicious = self._any.find(block) >= 0
        if is_suspicious:
            self._look_for_symptoms(block)
            self._look_for_contexts(block)
        if is_suspicious or self.errors.may_be_in(block):
            self.errors.look_at(block, self._num_lines)
        if before != (len(self.seen.contexts), self.errors.wanted):
            self._narrow()
        self._look_for_last_line(block)
        self._num_lines += block.count(b"\n")
        self.errors.above = (
            (self.errors.above + block)[-TAIL_BYTES:] if len(block) < TAIL_BYTES else block[-TAIL_BYTES:]
        )

    def _explains(self, line: str) -> bool:
        lowered = line.lower()
        return any(not rule.context and rule.matches(line, lowered) for rule in self._rules)

    def _look_for_symptoms(self, block: bytes) -> None:
        for start in starts(self._suspects, block):
            line = text_at(block, start)
            lowered = line.lower()
            for rule in self._rules:
                if rule.matches(line, lowered):
                    symptom = self.seen.matches.get(rule)
                    if symptom is None:
                        symptom = self.seen.matches[rule] = self._symptom(block, start, line)
                        above = self.errors.above
                        symptom.frame = frame_above(above + block, len(above) + start)
                    symptom.occurrences += 1
                    if (rank := log_lines.rank(line)) is not None and len(symptom.ranks) < MAX_RANKS:
                        symptom.ranks.add(rank)

    def _look_for_contexts(self, block: bytes) -> None:
        for start in starts(self._contexts, block):
            lowered = text_at(block, start).lower()
            self.seen.contexts |= {rule for rule in self._unseen if holds(lowered, rule.context)}
            if len(self.seen.contexts.intersection(self._unseen)) == len(self._unseen):
                break

    def _look_for_last_line(self, block: bytes) -> None:
        end = len(block) - 1
        while end >= 0:
            start = block.rfind(b"\n", 0, end) + 1
            if line := text_at(block, start):
                self.seen.last_line = self._symptom(block, start, line)
                return
            end = start - 1

    def _symptom(self, block: bytes, start: int, line: str) -> Symptom:
        return Symptom(number_of(block, start, self._num_lines), line)
