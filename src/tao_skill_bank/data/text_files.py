"""Reads text that people wrote: UTF-8, or UTF-16 with a byte order mark. Other encodings are refused, not guessed."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import regular_files

SHOWN_CHARACTERS = 60
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", ""),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # starts with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


class EncodingError(ValueError):
    """The bytes are not text in an encoding that is read; the message has the line."""


@dataclass(frozen=True)
class Text:
    """The text of a file; `note` names an encoding other than UTF-8."""

    text: str
    note: str = ""


def read(path: Path) -> Text:
    r"""Return the text of a file with its line ends as \n. Raises OSError and EncodingError."""
    found = decode(regular_files.read_bytes(path))
    return Text(found.text.replace("\r\n", "\n").replace("\r", "\n"), found.note)


def decode(data: bytes) -> Text:
    """Return the text that bytes hold, without a byte order mark. Raises EncodingError."""
    for mark, encoding, name in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return Text(_decode(data[len(mark) :], encoding), f"it is {name}" if name else "")
    return Text(_decode(data, "utf-8"))


def _decode(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise EncodingError(f"it is not valid {encoding.upper()}") from None
        raise EncodingError(_reason(data, error)) from None
    if "\0" in text:
        raise EncodingError("it has null bytes: it is binary, or UTF-16 without a byte order mark")
    return text


def _reason(data: bytes, error: UnicodeDecodeError) -> str:
    """Return where a text is not UTF-8, and what that line is in the usual encoding of western Windows."""
    number = data.count(b"\n", 0, error.start) + 1
    line = data.split(b"\n")[number - 1].decode("cp1252", errors="replace").strip()
    shown = line[:SHOWN_CHARACTERS] + ("..." if len(line) > SHOWN_CHARACTERS else "")
    return f"line {number} is not UTF-8: byte 0x{data[error.start]:02x}; as Windows-1252 it is '{shown}'"
