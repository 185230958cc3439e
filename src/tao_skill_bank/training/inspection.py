"""What surrounds every `inspect` program: a spec in, one JSON document or one error out."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tao_skill_bank.errors import TaoSkillsError, UnknownNameError
from tao_skill_bank.training.config import load_spec

T = TypeVar("T")
EXIT_NOT_AT_HAND = 3


def main(kind: type[T], inspect: Callable[[T], dict[str, Any]]) -> None:
    """Print what `inspect` tells of the spec that `--config` holds, and exit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="TOML file with the spec")
    path = parser.parse_args().config
    try:
        document = inspect(load_spec(kind, path))
    except TaoSkillsError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.exit(EXIT_NOT_AT_HAND if isinstance(error, UnknownNameError) else error.exit_code)
    sys.stdout.write(json.dumps(document) + "\n")


def cached_file(repository: str, name: str, revision: str | None = None) -> Path | None:
    """Return a file of a hub model that lies in the Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
