"""Dotted paths in nested dicts. Flat dotted keys are always expanded."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

MISSING: Any = object()


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, leaf) pairs; keys that contain dots are paths too. An empty dict is a leaf."""
    for key, child in value.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(child, Mapping) and child:
            yield from flatten(child, path)
        else:
            yield path, child


def get(tree: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at `path`, or `default` when any part of it is absent."""
    node: Any = tree
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def with_value(tree: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with `value` at `path`; missing groups are created, a leaf in between is replaced."""
    result = copy.deepcopy(dict(tree))
    node = result
    *groups, leaf = path.split(".")
    for key in groups:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[leaf] = copy.deepcopy(value)
    return result


def without(tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return a copy without the key at `path`; an absent key changes nothing."""
    result = copy.deepcopy(dict(tree))
    node: Any = result
    *groups, leaf = path.split(".")
    for key in groups:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(leaf, None)
    return result


def without_nulls(value: Any) -> Any:
    """Return a copy without null entries: TOML has no null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if isinstance(value, list) else value
