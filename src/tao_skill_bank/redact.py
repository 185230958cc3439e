"""Finds and masks secrets. Values are never returned, only where they are."""

import re
from collections.abc import Iterator
from typing import Any

MASK = "[redacted]"
SECRET_NAME = re.compile(r"(?i)(^|[_.-])(token|secret|password|passwd|api_?key|access_?key|private_?key|credential)s?$")
SECRET_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bnvapi-[\w-]{16,}|\bsk-[\w-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\bglpat-[\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
)


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every secret in a nested value, by its name or by its shape."""
    if isinstance(value, dict):
        for key, child in value.items():
            where = f"{path}.{key}" if path else str(key)
            if isinstance(child, str) and child.strip() and SECRET_NAME.search(str(key)):
                yield where
            else:
                yield from secret_paths(child, where)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from secret_paths(child, f"{path}[{index}]")
    elif isinstance(value, str) and SECRET_VALUE.search(value):
        yield path


def without_secret(value: Any) -> Any:
    """Return a value that may be shown: None where it holds a secret."""
    return None if any(True for _ in secret_paths(value)) else value


def redacted(text: str) -> str:
    """Return the text with everything that looks like a credential masked."""
    return SECRET_VALUE.sub(MASK, text)
