"""The frame of every `inspect` program: it reads a spec and prints one JSON document or one error."""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from tao_skill_bank.core import settings, unfinished
from tao_skill_bank.core.version import __version__
from tao_skill_bank.errors import BlockedError, MissingExtraError, TaoSkillsError, UnknownNameError
from tao_skill_bank.runs.run_directory import read_object
from tao_skill_bank.training import fitting, imports
from tao_skill_bank.training.config import read_document, spec_of
from tao_skill_bank.training.fitting import Capacity, Ladders

T = TypeVar("T")
EXIT_NOT_AVAILABLE = 3
FACTS = "2"  # raised when the facts that are remembered change
UNUSED = (*imports.QUANTIZATION, *imports.OTHER)  # without weights: 3.5 of 8.8 seconds


def main(
    kind: type[T],
    inspect: Callable[..., dict[str, Any]],
    others: Mapping[str, tuple[type[Any], Callable[[Any], dict[str, Any]]]] = MappingProxyType({}),
    ladders: Callable[[str, Mapping[str, Any]], Ladders] | None = None,
) -> None:
    """Print what `inspect` reports of the spec in `--config`, and exit.

    Args:
        kind: spec of the action train.
        inspect: reports what a training builds; also takes the tokens of the longest record, where they are known.
        others: the same two for every other `--action` that is inspected.
        ladders: what of an action's spec needs less memory, see `fitting`; tried where `--gpu-memory` or
            `--host-memory` is given, and reported as `fitting`.

    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec")
    parser.add_argument("--action", choices=["train", *others], default="train", help="action that the spec is of")
    parser.add_argument("--tokens", type=int, help="predicted tokens of the longest record that was sampled")
    parser.add_argument("--gpu-memory", type=int, help="bytes of a GPU; report the overrides with which the spec fits")
    parser.add_argument("--host-memory", type=int, help="bytes of a process on the CPU; likewise")
    flags = parser.parse_args()
    known = () if flags.tokens is None else (flags.tokens,)
    spec_kind, report = others.get(flags.action, (kind, inspect))

    def inspected(spec: Mapping[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = report(spec_of(spec_kind, spec), *known)
        return document

    try:
        with imports.hidden(UNUSED), imports.uncollected():
            spec = read_document(flags.config)
            document = inspected(spec)
            capacity = flags.gpu_memory or flags.host_memory
            if capacity and ladders is not None:
                limit = Capacity(capacity, is_gpu=bool(flags.gpu_memory))
                document["fitting"] = fitting.choices(spec, ladders(flags.action, spec), inspected, limit)
    except TaoSkillsError as error:
        failure: dict[str, Any] = {"error": str(error)}
        if isinstance(error, BlockedError) and not isinstance(error, MissingExtraError):
            failure["problem"] = error.problems[0].to_json()
        sys.stdout.write(json.dumps(failure) + "\n")
        sys.exit(EXIT_NOT_AVAILABLE if isinstance(error, UnknownNameError) else error.exit_code)
    sys.stdout.write(json.dumps(document) + "\n")


def remembered(key: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON document of `build`, from an earlier call with the same key where there was one.

    Args:
        key: everything that the document depends on; our version, the program and FACTS are added.
        build: makes the document; what it raises is not remembered.

    """
    identity = "\n".join([__version__, FACTS, build.__module__, build.__qualname__, key])
    name = f"facts-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
    path = settings.state_dir() / "cache" / "inspect" / name
    if found := read_object(path):
        return dict(found)
    document = build()
    with suppress(OSError):  # without a cache, the next inspection takes some seconds longer
        path.parent.mkdir(parents=True, exist_ok=True)
        work = unfinished.next_to(path)
        work.write_text(json.dumps(document), encoding="utf-8")
        work.replace(path)
    return document


def cached_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """Return a file of a hub model from the Hugging Face cache, or None where it is not cached."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
