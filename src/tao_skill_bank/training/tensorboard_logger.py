"""Metrics to TensorBoard event files in the run directory, for specs that name it as a logger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.errors import MissingExtraError


def start(results_dir: Path) -> Any:
    """Return a writer of <results_dir>/tensorboard. Raises MissingExtraError when tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError.for_module("tensorboard", "tensorboard") from None
    return SummaryWriter(str(results_dir / "tensorboard"))


def log(writer: Any, step: int, values: Mapping[str, float | None]) -> None:
    """Write one step's values; they are on the disk when this returns."""
    for name, value in values.items():
        if value is not None:
            writer.add_scalar(name, value, step)
    writer.flush()
