"""What answers were read as, and what kind of error each is; decided by all truths of the results."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from tao_skill_bank.core import tags
from tao_skill_bank.runs.gaps.text import normalised

ErrorType = Literal["FP", "FN", "wrong_class", "wrong_text", "wording", "unparseable", "cut"]
Kind = Literal["yes_no", "letter", "closed", "open"]
YES_NO = ("yes", "no")
CONSTRAINED_WORDS = 3
MAX_CLASSES = 50  # different truths beyond which they are open ones
WORD = re.compile(r"[^\W_]+")
OPENING_LETTER = re.compile(r"\W*([A-Za-z])(?:\W*$|[.):\]])")  # C, (C), c. A truck
CAPITAL = re.compile(r"\b[A-Z]\b")
UNREAD = ("unparseable", "cut")  # verdicts of answers that could not be read
THINK_CLOSES, ANSWER = "</think>", "answer"


@dataclass
class Truths:
    """The different truths of all results, until there are too many to be classes."""

    _different: set[str] = field(default_factory=set)
    _are_yes_no: bool = True
    _are_letters: bool = True

    def add(self, truths: Iterable[str]) -> None:
        """Take in the truths of some answers."""
        if not (self._are_yes_no or self._are_letters) and len(self._different) > MAX_CLASSES:
            return
        new = set(truths) - self._different
        self._are_yes_no = self._are_yes_no and all(_opening(final(truth)) for truth in new)
        self._are_letters = self._are_letters and all(OPENING_LETTER.match(final(truth)) for truth in new)
        if len(self._different) <= MAX_CLASSES:
            self._different |= new

    def readings(self) -> "Readings":
        """Return how answers to these truths are read."""
        if self._are_yes_no:
            return Readings("yes_no", YES_NO)
        if self._are_letters:
            return Readings("letter")
        labels = tuple(sorted({normalised(final(truth)) for truth in self._different}))
        is_closed = len(self._different) <= MAX_CLASSES and all(
            len(label.split()) <= CONSTRAINED_WORDS for label in labels
        )
        return Readings("closed", labels) if is_closed else Readings("open")


class Reading(NamedTuple):
    """A wrong answer as it was read: its class or text, None where it could not be read, and its type of error."""

    parsed: str | None
    error_type: ErrorType


@dataclass(frozen=True)
class Readings:
    """How answers are read; `labels` are the classes of those that are closed."""

    kind: Kind
    labels: Sequence[str] = ()

    @cached_property
    def _read(self) -> Callable[[str], str | None]:
        return lru_cache(maxsize=4096)(self._label)

    def of(self, response: str, truth: str, read_as: tuple[str | None, str | None], *, is_cut: bool) -> Reading:
        """Return the reading of a wrong answer.

        Args:
            response: the answer.
            truth: the right one.
            read_as: the verdict of the evaluation and what it read the answer as; None where it does not say.
            is_cut: generation ended at the token limit.

        """
        verdict, parsed = read_as
        if parsed is None and verdict not in UNREAD:
            parsed = self._read(response)
        expected = self._read(truth)
        if verdict == "right" or (parsed is not None and verdict is None and parsed == expected):
            return Reading(parsed, "wording")
        if parsed is None or verdict in UNREAD:
            return Reading(None, "cut" if is_cut or verdict == "cut" else "unparseable")
        if {normalised(parsed), expected} == {*YES_NO}:
            return Reading(parsed, "FP" if expected == "no" else "FN")
        if self.kind == "open":
            return Reading(parsed, "cut" if is_cut else "wrong_text")
        return Reading(parsed, "wrong_class")

    def kpi_error_type(self, truth: str, found: Reading) -> str:
        """Return the type of an error as the KPI gaps name it: of yes/no questions, FN or FP whatever was answered."""
        expected = self._read(truth) if self.kind != "open" else None
        return {"yes": "FN", "no": "FP"}.get(expected or "", found.error_type)

    def _label(self, text: str) -> str | None:
        """Return the class that a text names, None for none or several; of open answers, the text."""
        said = final(text)
        if self.kind == "open":
            return normalised(said) or None
        if self.kind == "yes_no":
            return _opening(said) or _only(said, YES_NO)
        if self.kind == "letter":
            return _letter(said)
        whole = normalised(said)
        return whole if whole in self.labels else _only(said, self.labels)


def final(text: str) -> str:
    """Return the part of an answer that counts: after its thought, inside its answer tags, where it has some."""
    if "<" not in text:
        return text
    closes = text.lower().rfind(THINK_CLOSES)
    said = text[closes + len(THINK_CLOSES) :] if closes >= 0 else text
    tagged = tags.inside(said, ANSWER)
    return tagged[-1] if tagged else said


def _opening(text: str) -> str | None:
    first = WORD.search(text)
    return word if first and (word := first[0].lower()) in YES_NO else None


def _letter(text: str) -> str | None:
    """Return the letter that a text opens with, or its only capital that stands alone."""
    if opening := OPENING_LETTER.match(text):
        return opening[1].upper()
    capitals = {*CAPITAL.findall(text)}
    return capitals.pop() if len(capitals) == 1 else None


def _only(text: str, labels: Iterable[str]) -> str | None:
    """Return the one label of which a text has all words in a row; None for none or several."""
    words = f" {' '.join(WORD.findall(text.lower()))} "
    found = [label for label in labels if f" {' '.join(WORD.findall(label))} " in words]
    return found[0] if len(found) == 1 else None
