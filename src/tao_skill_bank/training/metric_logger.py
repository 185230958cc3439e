"""Sends the numbers of a training to metrics.jsonl and to the loggers that the spec names; on rank 0 only."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.runs.status_log import MetricsWriter
from tao_skill_bank.training import tensorboard_logger, wandb_logger
from tao_skill_bank.training.entrypoint import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Destinations:
    """Where metrics go in addition to metrics.jsonl: any of console, wandb, tensorboard; and the run's names there."""

    loggers: Sequence[str]
    project: str
    experiment: str


class MetricLogger:
    """Writes the values of a step to all of them. Raises MissingExtraError when a named logger is not installed."""

    def __init__(self, run: Run, destinations: Destinations, steps_per_epoch: int, total_steps: int) -> None:
        is_main = run.ranks.is_main
        self.steps_per_epoch, self.total_steps = steps_per_epoch, total_steps
        self._metrics = MetricsWriter(run.results_dir, enabled=is_main)
        named = destinations.loggers if is_main else ()
        self._to_console = "console" in named
        self._wandb: Any = None
        self._tensorboard: Any = None
        if "wandb" in named:
            self._wandb = wandb_logger.start(run.results_dir, destinations.project, destinations.experiment)
        if "tensorboard" in named:
            self._tensorboard = tensorboard_logger.start(run.results_dir)

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        self._metrics.write(step, step / self.steps_per_epoch, values)
        if self._to_console:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
            logger.info("step %d/%d  %s", step, self.total_steps, shown)
        if self._wandb is not None:
            wandb_logger.log(self._wandb, step, values)
        if self._tensorboard is not None:
            tensorboard_logger.log(self._tensorboard, step, values)
