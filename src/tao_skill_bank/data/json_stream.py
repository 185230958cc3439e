"""Reads the items of a long JSON list one by one, in constant memory.

The standard library's scanner parses each item and says what is wrong with it; here is only the window that it looks
through, and what stands between items.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, TextIO

CHARACTERS_PER_READ = 1 << 20
LONGEST_CUT_TOKEN = 16
BLANK = re.compile(r"[ \t\n\r]*")
SEPARATOR = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


class NoListError(ValueError):
    """The text is JSON, but contains no list of items."""


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's parser accepts although JSON does not have them."""
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


DECODER = json.JSONDecoder(parse_constant=refuse_constant)


def stream_items(file: TextIO, envelope_keys: Collection[str] = ()) -> Iterator[Any]:
    """Yield the items of the list in `file`, or of the first list under one of `envelope_keys` of an object.

    Raises:
        ValueError: the text is not strict JSON, or contains no such list.

    """
    text = _Window(file)
    first = text.next_character()
    if first == "[":
        yield from _items(text)
    elif first == "{":
        yield from _items_of_envelope(text, envelope_keys)
    else:
        raise NoListError(_no_list(envelope_keys))
    if text.next_character():
        raise ValueError("there is more text after the end of the document")


def _items(text: "_Window") -> Iterator[Any]:
    text.expect("[")
    if text.next_character() == "]":
        text.expect("]")
        return
    index = 0
    while True:
        try:
            value = text.value()
        except ValueError as error:
            raise ValueError(f"item {index}: {error}") from None
        yield value
        index += 1
        match = SEPARATOR.match(text.buffer, text.position)
        if match and match.end() < len(text.buffer):
            separator, text.position = match[1], match.end()
        else:
            separator = text.separator(f"after item {index - 1}")
        if separator == "]":
            return


def _items_of_envelope(text: "_Window", envelope_keys: Collection[str]) -> Iterator[Any]:
    found = False
    text.expect("{")
    separator = "" if text.next_character() == "}" else ","
    while separator == ",":
        key = text.value()
        if not isinstance(key, str):
            raise ValueError("a key of the object is not a string")
        text.expect(":")
        if not found and key in envelope_keys and text.next_character() == "[":
            found = True
            yield from _items(text)
        else:
            text.next_character()
            text.value()
        separator = text.next_character()
        if separator == ",":
            text.expect(",")
            text.next_character()
    text.expect("}")
    if not found:
        raise NoListError(_no_list(envelope_keys))


def _no_list(envelope_keys: Collection[str]) -> str:
    return f"it is neither a list nor an object with a list under one of: {', '.join(envelope_keys)}"


class _Window:
    """The part of a file that is being read; it grows until a value is complete."""

    def __init__(self, file: TextIO) -> None:
        self.buffer = ""
        self.position = 0
        self._file = file

    def next_character(self) -> str:
        """Skip white space and return the next character without taking it; empty at the end."""
        while True:
            self.position = BLANK.match(self.buffer, self.position).end()  # type: ignore[union-attr]
            if self.position < len(self.buffer) or not self._extend():
                return self.buffer[self.position : self.position + 1]

    def expect(self, character: str) -> None:
        """Take `character`."""
        found = self.next_character()
        if found != character:
            raise ValueError(f"expected '{character}', found {found!r}" if found else f"it ends before a '{character}'")
        self.position += 1

    def separator(self, where: str) -> str:
        """Take the separator after a list item and the white space around it."""
        separator = self.next_character()
        if separator not in (",", "]"):
            raise ValueError(
                f"{where}: expected ',' or ']', found {separator!r}" if separator else "the list does not end"
            )
        self.position += 1
        self.next_character()
        return separator

    def value(self) -> Any:
        """Take and return the JSON value at the position."""
        while True:
            try:
                value, end = DECODER.scan_once(self.buffer, self.position)  # type: ignore[attr-defined]
            except StopIteration as error:
                if len(self.buffer) - error.value > LONGEST_CUT_TOKEN or not self._extend():
                    raise ValueError("expected a value") from None
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._extend():
                    raise ValueError(error.msg) from None
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            else:
                # A number at the end of the window may continue beyond it.
                if end < len(self.buffer) or not self._extend():
                    self.position = end
                    return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or len(self.buffer) - error.pos <= LONGEST_CUT_TOKEN

    def _extend(self) -> bool:
        more = self._file.read(max(CHARACTERS_PER_READ, len(self.buffer) - self.position))
        if more:
            self.buffer = self.buffer[self.position :] + more
            self.position = 0
        return bool(more)
