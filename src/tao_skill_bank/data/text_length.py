"""Finds texts that are longer than a text encoder takes, by an estimate that needs no tokenizer.

The estimate is on the high side of byte pair encodings of English: a token per 5 letters of a word, per digit, per
letter of another alphabet and per ASCII sign. The training plane counts with the model's tokenizer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, listed, warning

LETTERS_PER_TOKEN = 5
TOKENS_PER_SIGN = 3  # of an emoji
SHOWN_WORDS = 5
PIECES = re.compile(r"(?P<word>[A-Za-z]+)|(?P<one>[\d\n!-/:-@\[-`{-~]|[^\W\d_])|(?P<sign>[^\w\s])|\S")


@dataclass(frozen=True)
class Cut:
    """A text that is too long: its tokens, the words that fit, and the last few of those."""

    name: str
    num_tokens: int
    num_words: int
    last_words: str

    def __str__(self) -> str:
        return f"{self.name} (about {self.num_tokens} tokens, cut after word {self.num_words}: '...{self.last_words}')"


def cut(name: str, text: str, limit: int) -> Cut | None:
    """Return where a text is cut that takes more than `limit` tokens; None for one that fits."""
    total, end = 0, len(text)
    for piece in PIECES.finditer(text):
        total += _tokens(piece)
        if total > limit and end == len(text):
            end = piece.start()
    if total <= limit:
        return None
    words = text[:end].split()
    return Cut(name, total, len(words), " ".join(words[-SHOWN_WORDS:]))


def check(where: str | Path, noun: str, texts: Sequence[tuple[str, str]], limit: int) -> list[Finding]:
    """Return one warning for all texts that are cut.

    Args:
        where: the file or folder that holds them.
        noun: what they are, in the plural.
        texts: the name of each, and the text.
        limit: tokens that the encoder takes; 0 for no limit.

    """
    found = [each for name, text in texts if limit and (each := cut(name, text, limit))]
    if not found:
        return []
    message = (
        f"{where}: {len(found)} of {len(texts)} {noun} seem longer than the {limit} tokens that the text encoder "
        f"takes; the rest of each is not read: {listed(found)}."
    )
    evidence = {each.name: {"tokens": each.num_tokens, "words": each.num_words} for each in found[:MAX_LISTED]}
    fix = "Shorten them, the most important first: what follows the cut has no effect."
    return [warning("texts_cut", message, fix, str(where), cut=evidence, count=len(found))]


def _tokens(piece: re.Match[str]) -> int:
    if piece["word"]:
        return -(-len(piece["word"]) // LETTERS_PER_TOKEN)
    return TOKENS_PER_SIGN if piece["sign"] else 1
