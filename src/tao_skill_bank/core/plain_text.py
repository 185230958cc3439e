"""What the texts of a request may hold: a name, path or option is one plain line; free text is prose of any length.

Paths, names and options become lines of scripts, directives and terminals, where a control character has a meaning.
"""

import re

MAX_COMPONENT_BYTES = 255  # NAME_MAX of Linux
MAX_PATH_BYTES = 4096 - 1024  # PATH_MAX of Linux, less what a run writes below its folder
# C0 and C1 control characters, line and paragraph separators, bidirectional overrides, surrogates without a partner.
NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# The same without tabs and line ends; text from right to left may need its overrides.
NOT_IN_PROSE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-_]*://")
MAX_QUOTED = 80  # characters
NAMES = {"\0": "NUL", "\n": "a line break", "\r": "a carriage return", "\t": "a tab", "\x1b": "ESC"}


def fault_of_line(text: str) -> str:
    """Return what a name, path or option must not have, as "contains ..." or "has ..."; empty for a plain one."""
    if found := NOT_IN_A_LINE.search(text):
        return f"contains {_named(found[0])}"
    return f"has more than {MAX_PATH_BYTES} bytes" if len(text.encode()) > MAX_PATH_BYTES else ""


def fault_of_path(text: str) -> str:
    """Return what is wrong with a local path or a URI; empty for a usable one."""
    if fault := fault_of_line(text):
        return fault
    too_long = not SCHEME.match(text) and any(len(part.encode()) > MAX_COMPONENT_BYTES for part in text.split("/"))
    return f"has a name of more than {MAX_COMPONENT_BYTES} bytes" if too_long else ""


def is_possible_path(text: str) -> bool:
    """Return whether a file system could hold a path, whatever its characters."""
    encoded = text.encode("utf-8", "surrogatepass")
    is_short = len(encoded) <= MAX_PATH_BYTES and max(map(len, encoded.split(b"/"))) <= MAX_COMPONENT_BYTES
    return is_short and b"\0" not in encoded


def fault_of_prose(text: str) -> str:
    """Return what no text may hold, prompts included; empty for plain prose."""
    found = NOT_IN_PROSE.search(text)
    return f"contains {_named(found[0])}" if found else ""


def shown(text: str) -> str:
    """Return a text as a terminal or a UTF-8 file can hold it: what is not prose becomes its escape, as in Python."""
    return NOT_IN_PROSE.sub(lambda found: _escape(found[0]), text)


def on_one_line(text: str, limit: int | None = None) -> str:
    """Return a text, or its beginning, with everything escaped that is not plain."""
    start = NOT_IN_A_LINE.sub(lambda found: _escape(found[0]), text[:limit])
    return start if limit is None or len(text) <= limit else f"{start}..."


def counted(count: int, noun: str) -> str:
    """Return a number with a regular noun: 1 GPU, 2 GPUs."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def quoted(text: str) -> str:
    """Return the beginning of a text as a message quotes it."""
    return on_one_line(text, MAX_QUOTED)


def _named(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "bytes that are not UTF-8"
    return NAMES.get(character, f"the control character U+{ord(character):04X}")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
