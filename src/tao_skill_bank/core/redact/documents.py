"""Secrets in nested values: where they are, and the value without them."""

from collections.abc import Iterator
from typing import Any

from tao_skill_bank.core.redact.forms import SECRET_VALUE
from tao_skill_bank.core.redact.names import SECRET_NAME


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every secret in a nested value, by its name or by its format."""
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
    """Return the value, or None if it contains a secret."""
    return None if any(True for _ in secret_paths(value)) else value
