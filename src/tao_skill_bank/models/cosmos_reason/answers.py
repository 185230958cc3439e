"""What an answer says: its final part, a letter, yes or no, a direction. Pure Python."""

import re
import string
from typing import Literal

AnswerType = Literal["letter", "reasoning", "freeform", "naive"]
DIRECTIONS = ("left", "right", "straight")
YES_NO = ("yes", "no")
TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
LETTER = re.compile(r"(?:^|[\s(\[*])([A-Z])(?=$|[\s).\]:,*])")


def read(response: str, answer_type: AnswerType) -> str:
    """Return the part of a response that is scored.

    naive takes it as it is; freeform trims it; reasoning takes what follows </think>, inside <answer> tags where there
    are any; letter takes the first letter that stands alone ("B", "(B)", "B."), else the trimmed text.
    """
    if answer_type == "naive":
        return response
    final = response.strip()
    if answer_type == "reasoning":
        final = final.rsplit("</think>", 1)[-1].strip()
        tagged = TAGGED.search(final)
        return tagged.group(1).strip() if tagged else final
    if answer_type == "letter":
        letter = LETTER.search(final)
        return letter.group(1) if letter else final
    return final


def normalize(text: str) -> str:
    """Return the text in lower case without punctuation, articles and surplus blanks (the SQuAD normalisation)."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(word for word in bare.split() if word not in ("a", "an", "the"))


def direction(text: str) -> str | None:
    """Return left, right or straight when the text names exactly one of them, else None."""
    named = {word for word in words(text) if word in DIRECTIONS}
    return named.pop() if len(named) == 1 else None


def yes_or_no(text: str) -> str | None:
    """Return yes or no when the text names exactly one of them, else None."""
    named = {word for word in words(text) if word in YES_NO}
    return named.pop() if len(named) == 1 else None


def is_yes_no(truth: str) -> bool:
    """Tell whether a ground truth is a bare yes or no, or starts with one ("Yes, two cars collide.")."""
    first = normalize(truth).split(" ", 1)[0]
    return first in YES_NO


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"[a-z]+", text.lower())
