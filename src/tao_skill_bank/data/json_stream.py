"""Reads the items of a long JSON list, of a mapping, or of JSON lines one by one, in constant memory.

The standard library's scanner parses each item and says what is wrong with it; here is only the window that it looks
through, and what stands between items. The content decides which of the three a file is.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from tao_skill_bank.core.limits import MAX_CHARACTERS, TOO_DEEP, TOO_LONG, TOO_MANY_DIGITS, is_digits_error

CHARACTERS_PER_READ = 1 << 20
LONGEST_CUT_TOKEN = 16
BLANK = re.compile(r"[ \t\n\r]*")
SEPARATOR = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")
ITEM_KEYS = frozenset(
    {"conversations", "messages", "question", "video", "videos", "image", "images"}
)  # one of them makes an object an item, and not a mapping of items


class NoListError(ValueError):
    """The text is JSON, but contains no list of items."""


class SeveralListsError(ValueError):
    """An object has items in more than one place."""


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's parser accepts although JSON does not have them."""
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


DECODER = json.JSONDecoder(parse_constant=refuse_constant)


def stream_items(file: TextIO, envelope_keys: Collection[str] = (), *, as_lines: bool = False) -> Iterator[Any]:
    """Yield the items of `file`.

    Read are a list; an object with a list under one of `envelope_keys`; an object whose values are items, which get
    its keys as `id`; and JSON lines.

    Args:
        file: the text, at its start.
        envelope_keys: where an object may have its list.
        as_lines: an object at the start is the first of JSON lines.

    Raises:
        ValueError: the text is not strict JSON, is beyond a limit of `core.limits`, or contains no items.

    """
    text = _Window(file)
    first = text.next_character()
    if first == "[":
        yield from _items(text)
    elif first == "{" and (as_lines or _starts_lines(file, envelope_keys)):
        file.seek(0)
        yield from _lines(file)
        return
    elif first == "{":
        file.seek(0)
        text = _Window(file)
        yield from _items_of_object(text, envelope_keys)
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


def _starts_lines(file: TextIO, envelope_keys: Collection[str]) -> bool:
    """Return whether the object at the start is an item itself: the first, or the only one, of JSON lines."""
    file.seek(0)
    text = _Window(file)
    keys: set[str] = set()
    try:
        for key in text.take_keys():
            if key in envelope_keys and text.next_character() == "[" and ITEM_KEYS.isdisjoint(keys):
                return False
            value = text.value()
            if _is_item(value):
                return False
            keys.add(key)
        return text.next_character() == "{" or not ITEM_KEYS.isdisjoint(keys)
    except ValueError:
        return not ITEM_KEYS.isdisjoint(keys)


def _lines(file: TextIO) -> Iterator[Any]:
    for number, line in enumerate(_bounded_lines(file), start=1):
        if line.strip():
            try:
                yield whole(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from None


def _bounded_lines(file: TextIO) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_CHARACTERS:
            raise ValueError(f"line {number}: {TOO_LONG}")
        yield line


def whole(text: str) -> Any:
    """Return the JSON value of a text. Raises ValueError for anything else."""
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError as error:
        raise (ValueError(TOO_MANY_DIGITS) if is_digits_error(error) else error) from None


def _items_of_object(text: "_Window", envelope_keys: Collection[str]) -> Iterator[Any]:
    """Yield the list of an envelope, or the values of a mapping with their keys as ids."""
    found = by_id = False
    held: list[tuple[str, Any]] = []
    for key in text.take_keys():
        if not found and not by_id and key in envelope_keys and text.next_character() == "[":
            found = True
            yield from _items(text)
            continue
        value = text.value()
        has_list = key in envelope_keys and isinstance(value, list) and any(isinstance(each, dict) for each in value)
        if has_list and (found or by_id):
            raise SeveralListsError(f"under '{key}' and before it")
        if found:
            continue
        by_id = by_id or _is_item(value)
        held.append((key, value))
        if by_id:
            yield from (_with_id(*entry) for entry in held)
            held.clear()
    if not found and not by_id:
        raise NoListError(_no_list(envelope_keys))


def _is_item(value: Any) -> bool:
    """Return whether a value of a mapping is an item with turns, and not a description of the whole."""
    if not isinstance(value, dict):
        return False
    return "question" in value or any(
        isinstance(each, list) and each and isinstance(each[0], dict) for each in value.values()
    )


def _with_id(key: str, value: Any) -> Any:
    return {"id": key, **value} if isinstance(value, dict) else value


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

    def take_keys(self) -> Iterator[str]:
        """Take an object and yield its keys; the caller takes each value."""
        self.expect("{")
        separator = "" if self.next_character() == "}" else ","
        while separator == ",":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("a key of the object is not a string")
            self.expect(":")
            self.next_character()
            yield key
            separator = self.next_character()
            if separator == ",":
                self.expect(",")
                self.next_character()
        self.expect("}")

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
            except ValueError as error:
                raise (ValueError(TOO_MANY_DIGITS) if is_digits_error(error) else error) from None
            except RecursionError:
                raise ValueError(TOO_DEEP) from None
            else:
                # A number at the end of the window may continue beyond it.
                if end < len(self.buffer) or not self._extend():
                    self.position = end
                    return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or len(self.buffer) - error.pos <= LONGEST_CUT_TOKEN

    def _extend(self) -> bool:
        unread = len(self.buffer) - self.position
        if unread > MAX_CHARACTERS:
            raise ValueError(TOO_LONG)
        more = self._file.read(max(CHARACTERS_PER_READ, unread))
        if more:
            self.buffer = self.buffer[self.position :] + more
            self.position = 0
        return bool(more)
