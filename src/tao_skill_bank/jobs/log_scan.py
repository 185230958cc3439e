"""One pass over a log of any size, in constant memory: the lines that match known failures, and its last error."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tao_skill_bank.core.prefilter import Prefilter, any_of
from tao_skill_bank.jobs.failure_rules import Rule, holds

MAX_LINE_LENGTH = 2000  # longer lines are cut: no symptom starts that late, and patterns get slow
MAX_LINE_BYTES = 4 * MAX_LINE_LENGTH
ERROR_WORDS = ("error", "exception", "fatal", "traceback", "failed", "killed", "abort")


@dataclass
class Symptom:
    """The first line that matches a rule, its number from 1, and how many lines do."""

    line_number: int
    line: str
    occurrences: int = 0


@dataclass
class Scan:
    """What a log shows, by rule; `last_error` is searched only while no rule without a context has matched."""

    matches: dict[Rule, Symptom] = field(default_factory=dict)
    contexts: set[Rule] = field(default_factory=set)
    last_line: Symptom | None = None
    last_error: Symptom | None = None

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
        self._errors = Prefilter([any_of(ERROR_WORDS)])
        self._narrow()

    def _narrow(self) -> None:
        """Look no longer for contexts that were seen, nor for errors if a failure is known."""
        self._unseen = [rule for rule in self._rules if rule.context and rule not in self.seen.contexts]
        self._needs_error = all(rule.context for rule in self.seen.matches)
        contexts = [any_of(rule.context) for rule in self._unseen]
        errors = [any_of(ERROR_WORDS)] if self._needs_error else []
        self._contexts = Prefilter(contexts)
        self._any = Prefilter([*(rule.pattern for rule in self._rules), *contexts, *errors])

    def look_at(self, block: bytes) -> None:
        if self._any.find(block) >= 0:
            num_known = len(self.seen.matches), len(self.seen.contexts)
            self._look_for_symptoms(block)
            self._look_for_contexts(block)
            if self._needs_error:
                self._look_for_error(block)
            if num_known != (len(self.seen.matches), len(self.seen.contexts)):
                self._narrow()
        self._look_for_last_line(block)
        self._num_lines += block.count(b"\n")

    def _look_for_symptoms(self, block: bytes) -> None:
        for start in _found(self._suspects, block):
            line = _line(block, start)
            lowered = line.lower()
            for rule in self._rules:
                if rule.matches(line, lowered):
                    symptom = self.seen.matches.setdefault(rule, self._symptom(block, start, line))
                    symptom.occurrences += 1

    def _look_for_contexts(self, block: bytes) -> None:
        for start in _found(self._contexts, block):
            lowered = _line(block, start).lower()
            self.seen.contexts |= {rule for rule in self._unseen if holds(lowered, rule.context)}
            if len(self.seen.contexts.intersection(self._unseen)) == len(self._unseen):
                break

    def _look_for_error(self, block: bytes) -> None:
        end = len(block) - 1 if self._errors.find(block) >= 0 else -1
        while end >= 0:
            start = block.rfind(b"\n", 0, end) + 1
            if self._errors.find(block[start:end]) >= 0:
                line = _line(block, start)
                if holds(line.lower(), ERROR_WORDS):
                    self.seen.last_error = self._symptom(block, start, line)
                    return
            end = start - 1

    def _look_for_last_line(self, block: bytes) -> None:
        end = len(block) - 1
        while end >= 0:
            start = block.rfind(b"\n", 0, end) + 1
            if line := _line(block, start):
                self.seen.last_line = self._symptom(block, start, line)
                return
            end = start - 1

    def _symptom(self, block: bytes, start: int, line: str) -> Symptom:
        return Symptom(self._num_lines + block.count(b"\n", 0, start) + 1, line)


def _found(prefilter: Prefilter, block: bytes) -> Iterator[int]:
    """Yield the start of each line that a prefilter finds."""
    position = 0
    while position < len(block) and (found := prefilter.find(block, position)) >= 0:
        start = block.rfind(b"\n", position, found) + 1 or position
        yield start
        position = block.index(b"\n", start) + 1


def _line(block: bytes, start: int) -> str:
    """Return a line as rules look at it: cut, without space at its end."""
    end = min(block.index(b"\n", start), start + MAX_LINE_BYTES)
    return block[start:end].decode("utf-8", "replace")[:MAX_LINE_LENGTH].rstrip()
