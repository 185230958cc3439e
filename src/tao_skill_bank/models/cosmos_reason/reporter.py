"""Reports the metrics of a training to metrics.jsonl, status.jsonl, and the loggers of the spec."""

from dataclasses import dataclass

import torch
from torch import nn

from tao_skill_bank.models.cosmos_reason import model
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.facts import FACTS
from tao_skill_bank.models.cosmos_reason.optimizer import language_model_rate
from tao_skill_bank.models.cosmos_reason.training_setup import length_of
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.metric_logger import Destinations, MetricLogger
from tao_skill_bank.training.throughput import peak_memory_gib, utilization
from tao_skill_bank.training.validation_score import score_of

FORWARD_FLOPS_PER_WEIGHT = 2  # a multiplication and an addition per weight and token


@dataclass(frozen=True)
class Step:
    """The result of one optimizer step over all ranks."""

    loss: float
    largest_loss: float
    grad_norm: float
    tokens: float
    samples: float


@dataclass(frozen=True)
class Arithmetic:
    """FLOPs per token of one training step, without attention scores.

    Forward costs 2 per weight; backward costs 2 per weight for the inputs' gradients and 2 per trained weight for
    their own. Recomputation does not count as useful.
    """

    num_weights: int
    num_trained: int

    @property
    def per_token(self) -> float:
        return FORWARD_FLOPS_PER_WEIGHT * (2 * self.num_weights + self.num_trained)

    def utilization(self, tokens_per_second: float, device: torch.device) -> float | None:
        """Return the share of one device's peak FLOPs used; None if the peak is unknown."""
        return utilization(tokens_per_second * self.per_token, device)


class Reporter:
    """Writes metrics.jsonl, status.jsonl and the loggers of the spec, on rank 0."""

    def __init__(self, config: TrainConfig, run: Run, network: nn.Module, steps_per_epoch: int) -> None:
        self.run = run
        self.total = length_of(config.train).last_step(steps_per_epoch)
        names = config.logging
        destinations = Destinations(names.logger, names.project_name, names.experiment_name)
        self.metrics = MetricLogger(run, destinations, steps_per_epoch, self.total)
        trained = model.count(parameter for parameter in network.parameters() if parameter.requires_grad)
        self.arithmetic = Arithmetic(model.count(network.parameters()), trained)
        self.peaks = config.train.optm_lr

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
        self.metrics.write(step, values)
        self.run.status.progress(step, self.total, f"loss {done.loss:.4f}")

    def validation(self, step: int, loss: float) -> float:
        """Write what a validation found; return what best/ is chosen by. Raises JobFailedError where it is missing."""
        values = {"val/avg_loss": loss}
        self.metrics.write(step, values)
        return score_of(values, FACTS.metric)
