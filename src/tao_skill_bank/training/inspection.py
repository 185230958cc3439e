"""The frame of every `inspect` program: it reads a spec and prints one JSON document or one error."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from tao_skill_bank.errors import BlockedError, MissingExtraError, TaoSkillsError, UnknownNameError
from tao_skill_bank.training.config import load_spec

T = TypeVar("T")
EXIT_NOT_AVAILABLE = 3
# Extras that peft and transformers import where they are installed: 2.8 of 8.8 seconds, and without weights unused.
UNUSED = ("bitsandbytes", "torchao")


def main(
    kind: type[T],
    inspect: Callable[..., dict[str, Any]],
    others: Mapping[str, tuple[type[Any], Callable[[Any], dict[str, Any]]]] = MappingProxyType({}),
) -> None:
    """Print what `inspect` reports of the spec in `--config`, and exit.

    Args:
        kind: spec of the action train.
        inspect: reports what a training builds; also takes the tokens of the longest record, where they are known.
        others: the same two for every other `--action` that is inspected.

    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec")
    parser.add_argument("--action", choices=["train", *others], default="train", help="action that the spec is of")
    parser.add_argument("--tokens", type=int, help="predicted tokens of the longest record that was sampled")
    flags = parser.parse_args()
    known = () if flags.tokens is None else (flags.tokens,)
    spec_kind, report = others.get(flags.action, (kind, inspect))
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that it is not to be found
    try:
        document = report(load_spec(spec_kind, flags.config), *known)
    except TaoSkillsError as error:
        failure: dict[str, Any] = {"error": str(error)}
        if isinstance(error, BlockedError) and not isinstance(error, MissingExtraError):
            failure["problem"] = error.problems[0].to_json()
        sys.stdout.write(json.dumps(failure) + "\n")
        sys.exit(EXIT_NOT_AVAILABLE if isinstance(error, UnknownNameError) else error.exit_code)
    sys.stdout.write(json.dumps(document) + "\n")


def cached_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """Return a file of a hub model from the Hugging Face cache, or None where it is not cached."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
