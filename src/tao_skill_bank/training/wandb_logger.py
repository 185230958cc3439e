"""Metrics to Weights & Biases, for specs that name it as a logger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.errors import MissingExtraError


def start(results_dir: Path, project: str, name: str) -> Any:
    """Return a wandb run. Raises MissingExtraError when wandb is not installed."""
    try:
        import wandb
    except ImportError:
        raise MissingExtraError.for_module("wandb", "wandb") from None
    return wandb.init(project=project, name=name, dir=str(results_dir))


def log(run: Any, step: int, values: Mapping[str, float | None]) -> None:
    """Send one step's values."""
    run.log({name: value for name, value in values.items() if value is not None}, step=step)
