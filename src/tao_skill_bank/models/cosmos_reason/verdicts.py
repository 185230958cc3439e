"""The one rule by which an answer is judged. Pure Python."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import answers
from tao_skill_bank.models.cosmos_reason.answers import DIRECTIONS, YES_NO, AnswerType, Response

Kind = Literal["its_directionality", "yes_no", "letter", "free_text"]
Outcome = Literal["right", "wrong", "unparseable", "cut"]
SHOWN_PLACES = 10
READERS: Mapping[Kind, Callable[[str], str | None]] = {
    "its_directionality": answers.direction,
    "yes_no": answers.yes_or_no,
    "letter": answers.letter,
}


@dataclass(frozen=True)
class Rule:
    """How the answers of an evaluation are read: what kind they are, and which part of a response counts."""

    kind: Kind
    answer_type: AnswerType

    @property
    def is_closed(self) -> bool:
        """Whether an answer is one of a few choices."""
        return self.kind != "free_text"

    def label(self, text: str) -> str | None:
        """Return the class that a text names, None if none or several. Not for free text."""
        return READERS[self.kind](text)

    def truth(self, truth: str) -> str:
        """Return what a truth says: its class, or its text."""
        text = answers.final(Response(truth), self.answer_type)
        text = truth if text is None else text
        return (self.label(text) or text) if self.is_closed else self.compared(text)

    def compared(self, text: str) -> str:
        """Return what of a free text is compared: the letter that an answer of this type names, else all of it."""
        return (answers.letter(text) or text) if self.answer_type == "letter" else text


@dataclass(frozen=True)
class Verdict:
    """How an answer was read and judged.

    Attributes:
        outcome: `cut` and `unparseable` answers are wrong: they could not be read, with and without hitting max_tokens.
        prediction: the class or the text that the answer was read as; None if it could not be read.
        truth: the class or the text of the truth.

    """

    outcome: Outcome
    prediction: str | None
    truth: str

    @property
    def is_right(self) -> bool:
        return self.outcome == "right"


def kind_of(truths: Mapping[str, str], task: str, answer_type: AnswerType) -> Kind:
    """Return how the answers of an evaluation are scored, decided by all of its truths.

    Args:
        truths: place in the annotation file, such as #3 -> truth, as it is annotated.
        task: the spec's task.type.
        answer_type: which part of truths and responses counts.

    Raises:
        BlockedError: there are no truths, or some have no direction in the directionality task.

    """
    if not truths:
        raise BlockedError.of("no_records", "There is nothing to evaluate.", "Raise the limit or check the shard.")
    read = {place: answers.final(Response(truth), answer_type) or "" for place, truth in truths.items()}
    if task == "its_directionality":
        wrong = [place for place, truth in read.items() if answers.direction(truth) is None]
        if wrong:
            shown = ", ".join(wrong[:SHOWN_PLACES])
            more = f" and {len(wrong) - SHOWN_PLACES} more" if len(wrong) > SHOWN_PLACES else ""
            message = f"The answers of records {shown}{more} do not contain exactly one of {', '.join(DIRECTIONS)}."
            fix = 'Correct the annotations, or use task.type = "".'
            where = {"path": wrong[0], "got": truths[wrong[0]], "fix_choices": ({"task.type": ""},)}
            raise BlockedError.of("not_a_direction", message, fix, **where)
        return "its_directionality"
    if all(answers.is_yes_no(truth) for truth in read.values()):
        return "yes_no"
    lettered = {"letter": answers.is_lettered, "reasoning": answers.is_bare_letter}.get(answer_type)
    return "letter" if lettered and all(lettered(truth) for truth in read.values()) else "free_text"


def judge(response: Response, truth: str, rule: Rule) -> Verdict:
    """Judge an answer. Equality with a non-empty truth decides first, then what can be read of the answer."""
    expected = rule.truth(truth)
    if truth.strip() and response.text.strip() == truth.strip():
        return Verdict("right", expected, expected)
    unread: Outcome = "cut" if response.is_cut else "unparseable"
    final = answers.final(response, rule.answer_type)
    if final is None or not (answers.has_word(final) or answers.is_same(final, expected)):
        return Verdict(unread, None, expected)
    if not rule.is_closed:
        said = rule.compared(final)
        return Verdict("right" if answers.is_same(said, expected) else "wrong", said, expected)
    is_whole = answers.is_complete(response, rule.answer_type)
    prediction = rule.label(final) if is_whole else _first_statement(final, rule)
    if prediction is None:
        return Verdict(unread, None, expected)
    return Verdict("right" if prediction == expected else "wrong", prediction, expected)


def token_f1(response: str, truth: str) -> float:
    """Return the harmonic mean of word precision and recall after normalisation (SQuAD's F1)."""
    if answers.is_same(response, truth):
        return 1.0
    got, expected = answers.compared_words(response), answers.compared_words(truth)
    common = sum((Counter(got) & Counter(expected)).values())
    return 2 * common / (len(got) + len(expected)) if common else 0.0


def _first_statement(text: str, rule: Rule) -> str | None:
    """Return the class that a text without its end opens with, or that follows "the answer is"; else None."""
    if rule.kind == "letter":
        return answers.stated_letter(text)
    labels = YES_NO if rule.kind == "yes_no" else DIRECTIONS
    candidates = (answers.stated(text) or "", text)
    return next((label for part in candidates if (label := answers.opening(part, labels))), None)
