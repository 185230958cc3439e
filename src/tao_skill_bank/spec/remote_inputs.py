"""Inputs in object stores: their paths on the job's machine, and how they are staged. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Credential, Workload
from tao_skill_bank.core import nested
from tao_skill_bank.data import kinds
from tao_skill_bank.data.kinds import Place
from tao_skill_bank.staging import places

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


def place(skill: Skill, action: str, values: dict[str, Any], workload: Workload, results_dir: str) -> RemoteInputs:
    """Replace every input that lies in an object store by the link that it will have in the run directory."""
    fetches: list[tuple[str, str]] = []
    placed = values
    keys = list(_keys(skill, action, values, workload))
    for entry in keys:
        uri = nested.get(values, entry.key)
        if isinstance(uri, str) and places.is_remote(uri):
            target = _target(results_dir, entry.key, uri, is_folder=entry.place.holds == "folder")
            placed = nested.with_value(placed, entry.key, target)
            fetches.append((uri, target))
    for key, name in skill.action(action).inputs.listed.items():
        items = nested.get(placed, key)
        if isinstance(items, list):
            found = [_place_item(item, name, f"{key}.{number}", results_dir) for number, item in enumerate(items)]
            placed = nested.with_value(placed, key, [item for item, _ in found])
            fetches += [pair for _, pair in found if pair]
    indexed = {nested.get(placed, entry.key): nested.get(placed, entry.index_key) for entry in keys if entry.index_key}
    selects = bool(skill.action(action).inputs.selective)
    return RemoteInputs(placed, tuple(_index_files_first(fetches, indexed, selects=selects)))


def with_credentials(known: tuple[Credential, ...], uris: list[str]) -> tuple[Credential, ...]:
    """Return a skill's credentials and the variables that the stores of some URIs may need where the job runs."""
    schemes = dict.fromkeys(places.scheme(uri) for uri in uris)
    names = dict.fromkeys(name for kind in schemes for name in VARIABLES[kind])
    known_names = {credential.name for credential in known}
    return (*known, *(Credential(name, required=False) for name in names if name not in known_names))


@dataclass(frozen=True)
class _Key:
    """A spec key that names an input; `index_key` is the one of the file that names what is read of it."""

    key: str
    place: Place
    index_key: str = ""


def _keys(skill: Skill, action: str, values: dict[str, Any], workload: Workload) -> Iterator[_Key]:
    """Yield the keys of what is read: first those that the inputs of the workload came from, then the others."""
    package = skill.action(action).module.rpartition(".")[0]
    sources = skill.info.data_sources.get(action, {}).values()
    in_sources = {key for source in sources for key in source.keys}
    for source in sources:
        keys = {nested.get(values, key): key for key in source.keys}
        given = next((given for given in workload.inputs if set(given.paths.values()) == set(keys)), None)
        if given is None:
            continue  # the action does not read it
        for name, place in kinds.of(given, package).paths.items():
            yield _Key(keys[given.paths[name]], place, keys.get(given.paths.get(place.named_in, ""), ""))
    single = {
        path: kinds.of(given, package).paths[name] for given in workload.inputs for name, path in given.paths.items()
    }
    models = skill.action(action).inputs.models
    for key in skill.info.input_keys(action):
        if key not in in_sources:
            place = Place("folder") if key in models else single.get(nested.get(values, key), Place())
            yield _Key(key, place)


def _index_files_first(
    fetches: list[tuple[str, str]], indexed: dict[Any, Any], *, selects: bool
) -> Iterator[tuple[str, str]]:
    """Yield what an index file chooses from after all others; of it only what the file names, where that is wanted."""
    yield from (pair for pair in fetches if pair[1] not in indexed)
    for uri, target in fetches:
        if target in indexed:
            yield (f"{uri}{places.NAMED_IN}{indexed[target]}" if selects else uri), target


def _target(results_dir: str, key: str, uri: str, *, is_folder: bool) -> str:
    return str(Path(results_dir, places.staged_name(key, uri, is_folder=is_folder)))


def _place_item(item: Any, name: str, key: str, results_dir: str) -> tuple[Any, tuple[str, str] | None]:
    uri = item.get(name) if isinstance(item, dict) else None
    if not isinstance(uri, str) or not places.is_remote(uri):
        return item, None
    target = _target(results_dir, f"{key}.{name}", uri, is_folder=True)
    return {**item, name: target}, (uri, target)
