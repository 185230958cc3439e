"""Reads answers: the final part, a letter, yes or no, a direction, words of any script. Pure Python.

Truths and responses are read by the same functions.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tao_skill_bank.core import tags

AnswerType = Literal["letter", "reasoning", "freeform", "naive"]
DIRECTIONS = ("left", "right", "straight")
YES_NO = ("yes", "no")
ARTICLES = ("a", "an", "the")
TAG = "answer"
THINK_OPENS, THINK_CLOSES, ANSWER_OPENS = "<think>", "</think>", f"<{TAG}>"
STATED = re.compile(r"\banswer\b\W*(?:is\b|:)(.*)", re.DOTALL | re.IGNORECASE)  # "The answer is (B)"
# "Yes or no?", "yes/no" and "no-one" open with neither yes nor no.
NEITHER = re.compile(
    r"\W*(?:yes\s*(?:/|\bor\b|\band\b)\s*no|no\s*(?:/|\bor\b|\band\b)\s*yes)\b|\W*(?:yes|no)[-'’]\w", re.IGNORECASE
)
LATIN = r"0-9A-Za-z_'\u00C0-\u024F"  # a letter next to these is part of a word
BOXED = re.compile(r"\\boxed\{\W*+(?:(?<=\\)text\{\W*+)?([A-Za-z])[^\w}]*+\}")  # \boxed{C}
STATED_LETTER = re.compile(
    r"(?i:\banswer\b\W*(?:is\b|:)\W*)(?!(?:A|I) +\w)([A-Z])(?![" + LATIN + "])"
)  # The answer is C
OPENING_LETTER = re.compile(r"^\W*([A-Za-z])(?:\W*$|[*_]*[.):\]](?!\s*(?:is|was)\b)|[*_]*\s*\n)")  # C, (C), c. A truck
# Patterns of a letter, most reliable first; the last match counts.
LETTERS = (
    BOXED,
    STATED_LETTER,
    OPENING_LETTER,
    re.compile(r"[(\[]([A-Z])[)\]]|(?<!\w)[(\[]([a-z])[)\]]"),  # (C), but not the ending of clip(s)
    re.compile(r"(?<![" + LATIN + r"])(?!(?:A|I) +\w|I')([A-Z])(?![" + LATIN + "])"),  # alone, not the word A or I
    re.compile(r"(?<![" + LATIN + r"])([A-Z])(?![" + LATIN + "])"),
)
BRACKETED = r"[(\[]?([A-Z])[)\]]?"
JOINED = re.compile(  # A or B, (A) and (C), A/B: several choices, and so none
    r"(?<!["
    + LATIN
    + r"])"
    + BRACKETED
    + r"\s*+(?:/|&|,(?:\s*+\b(?:or|and)\b)?|\b(?:or|and)\b)\s*+"
    + BRACKETED
    + r"(?!["
    + LATIN
    + "])"
)
MINUS = "\N{MINUS SIGN}"
NUMBER_MARKS = ".,:/-"  # 1.5, 1,5, 10:30, 1/2, 2026-11-30
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Scripts that write no spaces between words: Thai, Lao, Myanmar, Khmer, kana and Han. A character counts as a word.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Response:
    """What an engine answered.

    Attributes:
        is_cut: generation ended at generation.max_tokens.
        log_likelihoods: of each choice, where choices were scored.

    """

    text: str
    is_cut: bool = False
    log_likelihoods: Mapping[str, float] = field(default_factory=dict)


def final(response: Response, answer_type: AnswerType) -> str | None:
    """Return the part of a response that is scored; None if it never comes to an answer.

    naive keeps the text unchanged; freeform and letter trim it; reasoning takes the text after </think>, inside
    <answer> tags if there are any. None: a thought does not close, or a reasoning answer was cut before its final part.
    """
    text, lower = response.text, response.text.lower()
    if lower.rfind(THINK_OPENS) > lower.rfind(THINK_CLOSES):
        return None
    if answer_type != "reasoning":
        return text if answer_type == "naive" else text.strip()
    closes = lower.rfind(THINK_CLOSES)
    if response.is_cut and closes < 0 and ANSWER_OPENS not in lower:
        return None
    answer = text[closes + len(THINK_CLOSES) :] if closes >= 0 else text
    tagged = tags.inside(answer, TAG)
    if tagged:
        return tagged[-1].strip()
    opens = answer.lower().rfind(ANSWER_OPENS)
    return (answer[opens + len(ANSWER_OPENS) :] if opens >= 0 else answer).strip()


def is_complete(response: Response, answer_type: AnswerType) -> bool:
    """Return whether the final part is whole: the response was not cut, or not inside its <answer> tags."""
    return not response.is_cut or (answer_type == "reasoning" and bool(tags.inside(response.text, TAG)))


def shows_reasoning(text: str) -> bool:
    """Return whether a response is tagged as a thought or as the answer after one."""
    lower = text.lower()
    return THINK_CLOSES in lower or THINK_OPENS in lower or ANSWER_OPENS in lower


def normalize(text: str) -> str:
    """Return the text for comparison: the SQuAD normalisation for any script.

    Compatibility forms are unified (NFKC), case is folded, punctuation and symbols (Unicode categories P, S and C) are
    removed, whitespace is collapsed, and English articles are dropped unless nothing else is left. Unlike SQuAD, the
    marks of numbers stay, so that 1.5 is not 15 and -3 not 3.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace(MINUS, "-")
    kept = [word for part in folded.split() if (word := THOUSANDS.sub("", _without_punctuation(part)))]
    return " ".join([word for word in kept if word not in ARTICLES] or kept)


def words(text: str) -> list[str]:
    """Return the words of a text, case folded: runs of letters, marks and digits; one per character without spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _split("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded))


def compared_words(text: str) -> list[str]:
    """Return the words of a normalised text, by which answers are compared word by word."""
    return _split(normalize(text))


def has_word(text: str) -> bool:
    """Return whether a text has any letter or digit, of any script."""
    return any(unicodedata.category(c)[0] in "LN" for c in text)


def is_same(response: str, truth: str) -> bool:
    """Return whether a response equals a truth that is not empty, as it is or after normalisation."""
    if response.strip() == truth.strip():
        return bool(truth.strip())
    normalized = normalize(response)
    return bool(normalized) and normalized == normalize(truth)


def direction(text: str) -> str | None:
    """Return left, right or straight when the text contains exactly one of them, else None."""
    return _only(text, DIRECTIONS)


def yes_or_no(text: str) -> str | None:
    """Return yes or no when the text opens with one of them, or contains exactly one of them, else None."""
    return opening(text, YES_NO) or _only(text, YES_NO)


def letter(text: str) -> str | None:
    """Return the letter of a choice in upper case, by the most reliable pattern that matches, else None.

    "The answer is B", letters that open the answer ("B", "b. A truck") and bracketed ones come before standalone ones.
    A letter that is joined with another one ("A or B") is none.
    """
    return _letter(text, LETTERS)


def stated_letter(text: str) -> str | None:
    """Return the letter that a text opens with or calls its answer, in upper case, else None."""
    return _letter(text, (BOXED, STATED_LETTER, OPENING_LETTER))


def opening(text: str, labels: tuple[str, ...]) -> str | None:
    """Return the label that a text opens with, else None. "Yes or no" opens with neither."""
    first = next(iter(words(text[:100])), None)
    return first if first in labels and not (labels == YES_NO and NEITHER.match(text)) else None


def stated(text: str) -> str | None:
    """Return what follows "the answer is" in a text, else None."""
    found = STATED.search(text)
    return found.group(1) if found else None


def is_lettered(truth: str) -> bool:
    """Return whether a truth is a letter, bracketed or followed by the text of its choice."""
    folded = unicodedata.normalize("NFKC", truth.strip())
    return OPENING_LETTER.match(folded) is not None


def is_bare_letter(truth: str) -> bool:
    """Return whether a truth is one letter and nothing else that counts."""
    return re.fullmatch(r"\W*[A-Za-z]\W*", unicodedata.normalize("NFKC", truth)) is not None


def is_yes_no(truth: str) -> bool:
    """Return whether a ground truth is a bare yes or no, or starts with one ("Yes, two cars collide.")."""
    return opening(truth, YES_NO) is not None


def _only(text: str, labels: tuple[str, ...]) -> str | None:
    named = {word for word in words(text) if word in labels}
    return named.pop() if len(named) == 1 else None


def _without_punctuation(word: str) -> str:
    """Return a word without punctuation and symbols, but with a minus before its number and marks between digits."""
    kept = ""
    for index, character in enumerate(word):
        before, after = word[index - 1 : index], word[index + 1 : index + 2]
        is_sign = character == "-" and not kept and after.isdecimal()
        is_mark = character in NUMBER_MARKS and before.isdecimal() and after.isdecimal()
        if unicodedata.category(character)[0] not in "PSC" or is_sign or is_mark:
            kept += character
    return kept


def _split(text: str) -> list[str]:
    return UNSPACED.sub(r" \g<0> ", text).split()


def _letter(text: str, patterns: tuple[re.Pattern[str], ...]) -> str | None:
    folded = unicodedata.normalize("NFKC", text)
    for pattern in patterns:
        found = list(pattern.finditer(folded))
        if found:
            group = found[-1].lastindex or 0
            start, chosen = found[-1].start(group), found[-1].group(group).upper()
            is_joined = any(
                pair.start() <= start < pair.end() and pair[1] != pair[2] for pair in JOINED.finditer(folded)
            )
            return None if is_joined else chosen
    return None
