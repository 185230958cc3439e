"""Questions and answers: what an answer of each form must be, and how far two answers agree."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from typing import Literal

from tao_skill_bank.contracts import contract
from tao_skill_bank.core import plain_text

Form = Literal["yes_no", "choice", "open"]
YES_NO = ("yes", "no")
MARKERS = ("<video>", "<image>", "<think>", "</think>", "<answer>", "<|")  # what a record or a chat template would read
LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
WORD = re.compile(r"\w+")
HINTS = {"yes_no": "Answer with yes or no.", "choice": "Answer with one of: {choices}."}


@contract
class Asked:
    """A question with its choices. `is_given`: by the user, in the words of its record, not made up by a model."""

    form: Form
    text: str
    choices: tuple[str, ...] = ()
    is_given: bool = False

    @property
    def record_text(self) -> str:
        """The question as its record asks it: with how it is to be answered, so that answers can be compared."""
        hint = "" if self.is_given else HINTS.get(self.form, "").format(choices=", ".join(self.choices))
        return f"{self.text} {hint}".strip()


@contract
class Answered:
    """A question with its answer.

    Attributes:
        reasoning: why, where that was asked for.
        second: the answer of a second pass, None without one; empty where that pass gave none that can be used.
        agreement: of both answers, from 0 to 1; None without a second pass.

    """

    asked: Asked
    answer: str
    reasoning: str = ""
    second: str | None = None
    agreement: float | None = None


@contract
class Event:
    """What happens in a part of a clip; the times are None where the model gave none."""

    text: str
    start: float | None = None
    end: float | None = None


@contract
class Captions:
    """A caption of the whole clip, and its events in order."""

    caption: str = ""
    events: tuple[Event, ...] = field(default_factory=tuple)


def form_of(choices: Sequence[str]) -> Form:
    """Return the form of a question by its choices."""
    if not choices:
        return "open"
    return "yes_no" if sorted(choice.strip().lower() for choice in choices) == sorted(YES_NO) else "choice"


def usable(asked: Asked, answer: object) -> str:
    """Return an answer as its form has it; empty where it is none.

    A yes/no answer is its first word, a choice is one of the question's, named by itself or by its letter.
    """
    text = text_of(answer)
    if asked.form == "yes_no":
        first = WORD.match(text.lower())
        word = first[0] if first and first[0] in YES_NO else ""
        return next((choice for choice in asked.choices if choice.strip().lower() == word), word)
    if asked.form == "choice":
        return _choice(asked.choices, text)
    return text


def text_of(value: object) -> str:
    """Return a text that a record may hold, stripped; empty for anything else."""
    if isinstance(value, bool):
        return YES_NO[not value]
    if isinstance(value, (int, float)):
        return f"{value:g}"
    if not isinstance(value, str) or plain_text.fault_of_prose(value) or any(mark in value for mark in MARKERS):
        return ""
    return value.strip()


def agreement(asked: Asked, first: str, second: str) -> float:
    """Return how far two answers agree: 1 or 0 for yes/no and choices, the F1 of their words for open answers."""
    if asked.form != "open":
        return float(first == second)
    ours, theirs = (Counter(WORD.findall(text.lower())) for text in (first, second))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def _choice(choices: Sequence[str], text: str) -> str:
    plain = text.strip(" .\"'").lower()
    for choice in choices:
        if choice.strip(" .\"'").lower() == plain:
            return choice
    letter = LETTER.fullmatch(text.strip())
    position = ord(letter[1].lower()) - ord("a") if letter else len(choices)
    return choices[position] if position < len(choices) else ""
