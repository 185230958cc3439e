"""Finds and masks secrets. Values are never returned, only where they are."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

MASK = "[redacted]"
SECRET_NAME = re.compile(r"(?i)(^|[_.-])(token|secret|password|passwd|api_?key|access_?key|private_?key|credential)s?$")
SECRET_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bnvapi-[\w-]{16,}|\bsk-[\w-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\bglpat-[\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
)
# What stands where only a credential stands: the password of a URL, a header, a variable named like one.
SECRET_PLACE = re.compile(
    r"(?<=://)[^\s/:@'\"]*:(?!\$)[^\s/@'\"]+(?=@)|(?<=Bearer )(?!\$)[\w.~+/-]{8,}=*"
    r"|(?<![\w$])((?:[A-Z0-9]+_)*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)"
    r"\s?[=:]\s?[\"']?)(?![$<])[^\s\"'$<]{8,}"
)
SHORTEST = 8  # characters of a credential; a shorter value would mask ordinary words


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
    return SECRET_PLACE.sub(_masked_place, SECRET_VALUE.sub(MASK, text))


def masker() -> Callable[[str], str]:
    """Return a function like `redacted` that masks the values of this process's secret variables, too."""
    named = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST}
    if not named:
        return redacted
    own = re.compile("|".join(re.escape(value) for value in sorted(named, key=len, reverse=True)))
    return lambda text: redacted(own.sub(MASK, text))


def _masked_place(found: re.Match[str]) -> str:
    return f"{found[1] or ''}{MASK}"
