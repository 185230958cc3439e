"""The commands and spec keys that the bank's pages show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PROGRAM = "tao-skills"
WRITTEN_FOR_BASH = ("bash", "sh", "console")
AFTER = ("#", "|", ">", "2>", ";", "&&", "||", ")")  # what ends a command in a line of bash
KEY = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")


@dataclass(frozen=True)
class Shown:
    """One command of a page, in words; `is_example` of a block of bash, which is meant to be pasted."""

    page: Path
    words: tuple[str, ...]
    is_example: bool

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def commands(page: Path) -> Iterator[Shown]:
    """Yield every command of a Markdown page: in blocks of bash, and `tao-skills ...` within sentences."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language in WRITTEN_FOR_BASH:
            for line in block.replace("\\\n", " ").splitlines():
                yield from (Shown(page, words, is_example=True) for words in _of_line(line))
    for code in INLINE.findall(FENCE.sub("", text)):
        yield from (Shown(page, words, is_example=False) for words in _of_line(code))


def _of_line(line: str) -> Iterator[tuple[str, ...]]:
    if PROGRAM not in line:
        return
    scanner = shlex.shlex(line, posix=True, punctuation_chars=";|&()<>")
    scanner.whitespace_split, scanner.commenters = True, "#"
    found: list[str] | None = None
    for word in scanner:
        if word in AFTER or set(word) <= set(";|&<>()"):
            if found is not None:
                yield tuple(found)
            found = None
        elif word == PROGRAM or word.endswith(f"/{PROGRAM}"):
            found = []
        elif found is not None:
            found.append(word)
    if found is not None:
        yield tuple(found)


def keys(page: Path) -> Iterator[str]:
    """Yield what a page writes as a dotted spec key in code, such as `train.epoch` or `train.epoch=3`."""
    for code in INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        name = code.partition("=")[0]
        if KEY.fullmatch(name):
            yield name
