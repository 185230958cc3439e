"""Reads the items of a long JSON list one by one, in constant memory.

Objects are parsed in batches by pydantic's reader; whatever it cannot take whole (the end of a window, a broken or an
unusual item) goes to the standard library's scanner, which also tells what is wrong. Measured on a list of 1,000,000
records (196 MB), CPU seconds: batches 1.1, that scanner alone 1.8, ijson (yajl2_c) 2.0, json.load 4.4 and 1.3 GiB.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from pydantic_core import from_json

CHARACTERS_PER_READ = 1 << 20
CHARACTERS_PER_BATCH = 1 << 14
MAX_BATCH_TRIES = 4
LONGEST_CUT_TOKEN = 16
BETWEEN_OBJECTS = re.compile(r"\}[ \t\n\r]*,[ \t\n\r]*(?=\{)")
BLANK = re.compile(r"[ \t\n\r]*")
SEPARATOR = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


class NoListError(ValueError):
    """The text is JSON, and holds no list of items."""


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's reader accepts and JSON does not have."""
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


DECODER = json.JSONDecoder(parse_constant=refuse_constant)


def stream_items(file: TextIO, envelope_keys: Collection[str] = ()) -> Iterator[Any]:
    """Yield the items of the list in `file`, or of the first list under one of `envelope_keys` of an object.

    Raises:
        ValueError: the text is not strict JSON, or holds no such list.

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
        batch = text.take_objects()
        yield from batch
        index += len(batch)
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
            raise ValueError("a key of the object is no string")
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
    return f"it is no list, nor an object with a list under one of: {', '.join(envelope_keys)}"


class _Window:
    """The part of a file that is being read; it grows while a value in it is not complete."""

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

    def take_objects(self) -> list[Any]:
        """Take and return the objects at the position that lie in the window whole, as far as they are easily found.

        A place between two objects may also lie within an item. The text up to it is then no list of whole items,
        and an earlier place is tried.
        """
        end = min(len(self.buffer), self.position + CHARACTERS_PER_BATCH)
        for _ in range(MAX_BATCH_TRIES):
            place = self._last_between_objects(end)
            if place is None:
                break
            try:
                found: list[Any] = from_json(f"[{self.buffer[self.position : place.start() + 1]}]", allow_inf_nan=False)
            except ValueError:
                end = place.start()
            else:
                self.position = place.end()
                return found
        return []

    def _last_between_objects(self, end: int) -> "re.Match[str] | None":
        while (end := self.buffer.rfind("}", self.position, end)) >= 0:
            place = BETWEEN_OBJECTS.match(self.buffer, end)
            if place:
                return place
        return None

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
                # A number at the end of the window may go on behind it.
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
