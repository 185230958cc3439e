"""Reports the metrics of a training to metrics.jsonl, status.jsonl, and the loggers of the spec."""

from dataclasses import dataclass

from tao_skill_bank.bank.step_limit import Length
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.facts import FACTS
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.metric_logger import Destinations, MetricLogger
from tao_skill_bank.training.throughput import peak_memory_gib, utilization
from tao_skill_bank.training.validation_score import score_of


@dataclass(frozen=True)
class Step:
    """The result of one optimizer step over all ranks. `public_loss` is the mean as in NVIDIA's public script."""

    loss: float
    public_loss: float
    grad_norm: float
    learning_rate: float
    samples: int
    is_interrupted: bool = False


class Reporter:
    """Writes the values of steps and validations, on rank 0."""

    def __init__(self, config: TrainConfig, run: Run, flops: float, steps_per_epoch: int) -> None:
        """Open the loggers. `flops` are the FLOPs of one micro-batch."""
        self.run, self.batch_size = run, config.train.batch_size
        settings = config.train
        length = Length(settings.epoch, settings.stop_epoch, settings.max_steps)
        self.total = length.last_step(steps_per_epoch)
        names = config.logging
        destinations = Destinations(names.logger, names.project_name, names.experiment_name)
        self.metrics = MetricLogger(run, destinations, steps_per_epoch, self.total)
        self.flops = flops

    def step(self, step: int, done: Step, seconds: float) -> None:
        device, world = self.run.ranks.device, self.run.ranks.world
        per_rank = done.samples / world / self.batch_size
        values = {
            "train/loss_avg": done.loss,
            "train/loss_public": done.public_loss,
            "optimizer/lr": done.learning_rate,
            "optimizer/grad_norm": done.grad_norm,
            "train/iteration_time": seconds,
            "train/samples_per_second": done.samples / seconds,
            "train/mfu": utilization(self.flops * per_rank / seconds, device),
            "train/peak_memory_gib": peak_memory_gib(device),
        }
        self.metrics.write(step, values)
        self.run.status.progress(step, self.total, f"loss {done.loss:.4f}")

    def validation(self, step: int, loss: float) -> float:
        """Write what a validation found; return what best/ is chosen by. Raises JobFailedError where it is missing."""
        values = {"val/avg_loss": loss}
        self.metrics.write(step, values)
        return score_of(values, FACTS.metric)
