"""Text streams that mask what is written to them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from tao_skill_bank.core.redact.masker import Masker


class MaskedStream:
    """A text stream that masks whole lines; what ends without a line break is masked as it is.

    Attributes:
        is_plain: the text is masked already and is written as it is.

    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._mask: Masker | None = None
        self.is_plain = False

    def write(self, text: str) -> int:
        self._stream.write(text if self.is_plain or not text.strip() else self._masked(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _masked(self, text: str) -> str:
        if self._mask is None:
            self._mask = Masker()
        return "\n".join(self._mask(line) if line else line for line in text.split("\n"))


def mask_output() -> None:
    """Mask what this process prints from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, MaskedStream):
            setattr(sys, name, cast(TextIO, MaskedStream(stream)))


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask what this process prints within the context."""
    streams = sys.stdout, sys.stderr
    mask_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


@contextmanager
def plain_output() -> Iterator[None]:
    """Write to a masked standard output as it is, for text that is masked already."""
    stream = sys.stdout
    if not isinstance(stream, MaskedStream):
        yield
        return
    stream.is_plain = True
    try:
        yield
    finally:
        stream.is_plain = False
