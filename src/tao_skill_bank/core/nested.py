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
    """Return a tree with `value` at `path` that shares what is the same; a missing group is made, a leaf replaced."""
    result = dict(tree)
    node = result
    *groups, leaf = path.split(".")
    for key in groups:
        group = node.get(key)
        node[key] = dict(group) if isinstance(group, dict) else {}
        node = node[key]
    node[leaf] = copy.deepcopy(value)
    return result


def without(tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return a tree without the key at `path` that shares what is the same; an absent key changes nothing."""
    result = dict(tree)
    node = result
    *groups, leaf = path.split(".")
    for key in groups:
        group = node.get(key)
        if not isinstance(group, dict):
            return result
        node[key] = dict(group)
        node = node[key]
    node.pop(leaf, None)
    return result


def without_nulls(value: Any) -> Any:
    """Return a copy without null entries: TOML has no null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if isinstance(value, list) else value
