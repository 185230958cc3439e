"""Secrets in nested values: where they are, and the value without them."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from tao_skill_bank.core.redact.forms import SECRET_VALUE
from tao_skill_bank.core.redact.masker import masked_text, own_pattern, own_secrets, redacted
from tao_skill_bank.core.redact.names import is_secret_name, names_object
from tao_skill_bank.core.redact.values import MASK, is_reference, masked_value

T = TypeVar("T")
# `user:password@host` without a scheme, as an option of ssh or a proxy takes it; not `image:tag@sha256:...`.
_LOGIN = re.compile(r"[\w.+-]{1,64}:(?P<password>[^\s/@:]{1,512})@(?!sha\d{3}:)[\w.-]{1,255}(?::\d{1,5})?")


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every secret in a nested value, by its name or by its format."""
    for where, name, text in _texts(value, path):
        if SECRET_VALUE.search(text) or _is_named(name, text):
            yield where


def without_secret(value: Any) -> Any:
    """Return the value, or None if it contains a secret."""
    return None if any(True for _ in secret_paths(value)) else value


def secrets_used(value: Any) -> Iterator[tuple[str, str]]:
    """Yield (path, variable) of every text of a nested value that a mask would change.

    `variable` is the environment variable whose value the text holds, empty where it only looks like a secret.
    """
    own = own_secrets()
    for where, name, text in _texts(value):
        variable = next((each for each, secret in own.items() if secret in text or secret in where), "")
        is_masked = redacted(text) != text or redacted(where) != where or _is_login(text)
        if variable or is_masked or _is_named(name, text):
            yield masked_text(where, own_pattern()), variable


def masked(value: T) -> T:
    """Return a nested value with the secrets in its texts and keys masked."""
    own = own_pattern()

    def safe(each: Any, name: str) -> Any:
        if isinstance(each, dict):
            return {safe(key, ""): safe(child, called) for key, called, child in _children(each)}
        if isinstance(each, (list, tuple)):
            return [safe(child, called) for _, called, child in _children(each)]
        if not isinstance(each, str):
            return each
        text = MASK if _is_login(each) else masked_text(each, own)
        return masked_value(text, 4) if _is_named(name, text) else text

    return cast(T, safe(value, ""))


def _is_login(text: str) -> bool:
    found = _LOGIN.fullmatch(text)
    return found is not None and not is_reference(found["password"]) and found["password"] != MASK


def _is_named(name: str, text: str) -> bool:
    return bool(text.strip()) and is_secret_name(name) and not names_object(name, text)


def _texts(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (path, name, text) of every text."""
    if isinstance(value, str):
        yield path, name, value
    is_list = isinstance(value, (list, tuple))
    for key, called, child in _children(value):
        yield from _texts(child, f"{path}[{key}]" if is_list else f"{path}.{key}" if path else str(key), called)


def _children(value: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield (key, name, child) of a container: the name is the key, or what a pair, or the flag before it, says."""
    if isinstance(value, dict):
        named = {"value": value.get("name"), "got": str(value.get("path", "")).rpartition(".")[2]}
        for key, child in value.items():
            yield key, str(named.get(key) or key), child
    elif isinstance(value, (list, tuple)):
        before = [""] + [each.lstrip("-") if str(each).startswith("-") else "" for each in map(str, value)]
        yield from ((index, before[index], child) for index, child in enumerate(value))
