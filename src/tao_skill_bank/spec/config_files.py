"""Serializes a config to the file format that a trainer reads, and compares what such a file holds."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tomli_w
import yaml

from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import TaoSkillsError

MISSING: Any = object()


def text(name: str, config: Mapping[str, Any]) -> str:
    """Return a config as TOML for a .toml file, else as YAML."""
    return tomli_w.dumps(config) if name.endswith(".toml") else yaml12.render(config)


@dataclass(frozen=True)
class Change:
    """A value that is not the expected one; the key is empty for a file that cannot be parsed."""

    key: str
    found: Any
    expected: Any

    def __str__(self) -> str:
        return f"{_shown(self.found)} in place of {_shown(self.expected)}"


def differences(name: str, rendered: str, config: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what differs between a config and its rendered file, as any of the readers of such files takes it.

    A YAML file is read as version 1.1, too: that is how most programs read it.
    """
    for document in _readings(name, rendered):
        yield from changes(document, config)


def changes(found: Any, expected: Any, key: str = "") -> Iterator[Change]:
    """Yield what differs between nested values; types differ, too: 1 is neither 1.0 nor true."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in dict.fromkeys((*expected, *found)):
            path = f"{key}.{name}" if key else str(name)
            yield from changes(found.get(name, MISSING), expected.get(name, MISSING), path)
    elif isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)) and len(found) == len(expected):
        for index, (mine, other) in enumerate(zip(found, expected, strict=True)):
            yield from changes(mine, other, f"{key}.{index}" if key else str(index))
    elif type(found) is not type(expected) or found != expected:
        yield Change(key, found, expected)


def _readings(name: str, rendered: str) -> Iterator[Any]:
    readers = (tomllib.loads,) if name.endswith(".toml") else (yaml.safe_load, lambda it: yaml12.parse(it, name))
    for read in readers:
        try:
            yield read(rendered)
        except (TaoSkillsError, ValueError, RecursionError, yaml.YAMLError) as error:
            yield error


def _shown(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if isinstance(value, Exception):
        return f"a file that cannot be parsed ({value})"
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:77]}..."
