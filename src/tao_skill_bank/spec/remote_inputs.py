"""Inputs that lie in object stores: where the machine of the job will have them, and what brings them there. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Credential
from tao_skill_bank.core import nested
from tao_skill_bank.staging import places

OUTPUT = "output"  # in the name of a key: written, not read
# What the stores' clients read of the environment; by name only, for platforms that pass single variables on.
VARIABLES = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
        *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"),
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"),
    "hf": ("HF_TOKEN", "HF_ENDPOINT"),
}


@dataclass(frozen=True)
class RemoteInputs:
    """The spec with local paths, and (URI, path) pairs of what has to be staged before it can be read."""

    values: dict[str, Any]
    fetches: tuple[tuple[str, str], ...]


def place(skill: Skill, action: str, values: dict[str, Any], results_dir: str) -> RemoteInputs:
    """Replace every input that lies in an object store by the link that it will have in the run directory."""
    fetches: list[tuple[str, str]] = []
    placed = values
    for key, kind in _keys(skill, action):
        uri = nested.get(values, key)
        if isinstance(uri, str) and places.is_remote(uri):
            target = str(Path(results_dir, places.staged_name(key, uri, is_folder=kind == "folder")))
            placed = nested.with_value(placed, key, target)
            fetches.append((uri, target))
    for key, name in skill.action(action).inputs.listed.items():
        items = nested.get(placed, key)
        if isinstance(items, list):
            found = [_place_item(item, name, f"{key}.{number}", results_dir) for number, item in enumerate(items)]
            placed = nested.with_value(placed, key, [item for item, _ in found])
            fetches += [pair for _, pair in found if pair]
    return RemoteInputs(placed, tuple(_selective(skill, action, placed, fetches)))


def with_credentials(known: tuple[Credential, ...], uris: list[str]) -> tuple[Credential, ...]:
    """Return a skill's credentials and the variables that the stores of some URIs may need where the job runs."""
    schemes = dict.fromkeys(places.scheme(uri) for uri in uris)
    names = dict.fromkeys(name for kind in schemes for name in VARIABLES[kind])
    known_names = {credential.name for credential in known}
    return (*known, *(Credential(name, required=False) for name in names if name not in known_names))


def _keys(skill: Skill, action: str) -> Iterator[tuple[str, str]]:
    """Yield the keys that name what is read, and whether each names a file for sure or a folder for sure."""
    inputs = skill.action(action).inputs
    seen: set[str] = set()
    for source in skill.info.data_sources.get(action, {}).values():
        kinds = ((source.annotation_path, "file"), (source.media_path, "folder"), (source.folder, "folder"))
        for key, kind in kinds:
            if key:
                seen.add(key)
                yield key, kind
    for key in (*inputs.models, *inputs.media, *inputs.paths):
        if key not in seen and OUTPUT not in key:
            seen.add(key)
            yield key, "folder" if key in inputs.models else "any"


def _selective(
    skill: Skill, action: str, placed: dict[str, Any], fetches: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yield annotations first, then the rest; of media only what their annotation names."""
    sources = skill.info.data_sources.get(action, {}).values()
    media = {
        nested.get(placed, source.media_path): nested.get(placed, source.annotation_path)
        for source in sources
        if source.media_path and source.annotation_path
    }
    selects = bool(skill.action(action).inputs.selective)
    yield from (pair for pair in fetches if pair[1] not in media)
    for uri, target in fetches:
        if target in media:
            yield (f"{uri}{places.NAMED_IN}{media[target]}" if selects else uri), target


def _place_item(item: Any, name: str, key: str, results_dir: str) -> tuple[Any, tuple[str, str] | None]:
    uri = item.get(name) if isinstance(item, dict) else None
    if not isinstance(uri, str) or not places.is_remote(uri):
        return item, None
    target = str(Path(results_dir, places.staged_name(f"{key}.{name}", uri, is_folder=True)))
    return {**item, name: target}, (uri, target)
