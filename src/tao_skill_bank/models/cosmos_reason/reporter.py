"""Tells the numbers of a training: metrics.jsonl, status.jsonl, the console and wandb."""

import logging
from dataclasses import dataclass
from typing import Any

from torch import nn

from tao_skill_bank.models.cosmos_reason import model
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.optimizer import language_model_rate
from tao_skill_bank.models.cosmos_reason.throughput import Arithmetic, peak_memory_gib
from tao_skill_bank.training import wandb_logger
from tao_skill_bank.training.checkpoint import METRIC
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.status import MetricsWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """What one optimizer step did, over all ranks."""

    loss: float
    largest_loss: float
    grad_norm: float
    tokens: float
    samples: float


class Reporter:
    """Writes metrics.jsonl, status.jsonl and the loggers that the spec names, on rank 0."""

    def __init__(self, config: TrainConfig, run: Run, network: nn.Module, steps_per_epoch: int) -> None:
        self.run = run
        self.steps_per_epoch = steps_per_epoch
        self.total = config.train.epoch * steps_per_epoch
        self.metrics = MetricsWriter(run.results_dir, enabled=run.ranks.is_main)
        self.to_console = "console" in config.logging.logger and run.ranks.is_main
        trained = model.count(parameter for parameter in network.parameters() if parameter.requires_grad)
        self.arithmetic = Arithmetic(model.count(network.parameters()), trained)
        self.peaks = config.train.optm_lr
        self.wandb: Any = None
        if "wandb" in config.logging.logger and run.ranks.is_main:
            names = config.logging
            self.wandb = wandb_logger.start(run.results_dir, names.project_name, names.experiment_name)

    def step(self, step: int, done: Step, lr_factor: float, seconds: float) -> None:
        device = self.run.ranks.device
        tokens_per_second = done.tokens / seconds
        values = {
            "train/loss_avg": done.loss,
            "train/loss_max": done.largest_loss,
            "optimizer/lr": language_model_rate(self.peaks, lr_factor),
            "optimizer/grad_norm": done.grad_norm,
            "train/iteration_time": seconds,
            "train/tokens_per_second": tokens_per_second,
            "train/samples_per_second": done.samples / seconds,
            "train/mfu": self.arithmetic.utilization(tokens_per_second / self.run.ranks.world, device),
            "train/peak_memory_gib": peak_memory_gib(device),
        }
        self._write(step, values)
        self.run.status.progress(step, self.total, f"loss {done.loss:.4f}")

    def validation(self, step: int, loss: float) -> None:
        self._write(step, {METRIC: loss})

    def _write(self, step: int, values: dict[str, float | None]) -> None:
        self.metrics.write(step, step / self.steps_per_epoch, values)
        if self.to_console:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
            logger.info("step %d/%d  %s", step, self.total, shown)
        if self.wandb is not None:
            wandb_logger.log(self.wandb, step, values)
