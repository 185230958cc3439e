"""Parses answers: the final part, a letter, yes or no, a direction. Pure Python."""

import re
import string
from typing import Literal

AnswerType = Literal["letter", "reasoning", "freeform", "naive"]
DIRECTIONS = ("left", "right", "straight")
YES_NO = ("yes", "no")
TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
# Patterns of a letter, most reliable first; the last match counts.
LETTERS = (
    re.compile(r"[(\[]([A-Z])[)\]]"),  # (C)
    re.compile(r"^\W*([A-Z])(?:\W*$|[.):])"),  # C, C. A truck
    re.compile(r"(?<![\w'])(?!(?:A|I) +\w|I')([A-Z])(?![\w'])"),  # alone, and not the word A or I
    re.compile(r"(?<![\w'])([A-Z])(?![\w'])"),
)


def read(response: str, answer_type: AnswerType) -> str:
    """Return the part of a response that is scored.

    naive keeps it unchanged; freeform trims it; reasoning takes the text after </think>, inside <answer> tags if
    there are any; letter takes a bracketed letter, else one that opens the answer ("B", "B. A truck"), else the last
    standalone letter, else the trimmed text.
    """
    if answer_type == "naive":
        return response
    final = response.strip()
    if answer_type == "reasoning":
        final = final.rsplit("</think>", 1)[-1].strip()
        tagged = TAGGED.search(final)
        return tagged.group(1).strip() if tagged else final
    if answer_type == "letter":
        return next((found[-1] for found in (pattern.findall(final) for pattern in LETTERS) if found), final)
    return final


def normalize(text: str) -> str:
    """Return the text in lower case without punctuation, articles and extra whitespace (the SQuAD normalisation)."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(word for word in bare.split() if word not in ("a", "an", "the"))


def direction(text: str) -> str | None:
    """Return left, right or straight when the text contains exactly one of them, else None."""
    named = {word for word in words(text) if word in DIRECTIONS}
    return named.pop() if len(named) == 1 else None


def yes_or_no(text: str) -> str | None:
    """Return yes or no when the text contains exactly one of them, else None."""
    named = {word for word in words(text) if word in YES_NO}
    return named.pop() if len(named) == 1 else None


def is_yes_no(truth: str) -> bool:
    """Return whether a ground truth is a bare yes or no, or starts with one ("Yes, two cars collide.")."""
    first = normalize(truth).split(" ", 1)[0]
    return first in YES_NO


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"[a-z]+", text.lower())
