"""Supervised fine-tuning: `torchrun ... -m tao_skill_bank.models.cosmos_reason.train --config train.toml`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from tao_skill_bank.bank import rules, step_limit
from tao_skill_bank.bank.step_limit import EpochEnd
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_reason import (
    batches,
    data,
    eva,
    feature_cache,
    identity,
    model,
    optimizer,
    out_of_memory,
    preload,
    prepare,
    sharded_weights,
)
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.config.feature_rules import TRAINING_FEATURES
from tao_skill_bank.models.cosmos_reason.config.train import Checkpointing
from tao_skill_bank.models.cosmos_reason.facts import FACTS
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.network import Network, parts
from tao_skill_bank.models.cosmos_reason.optimizer import part_of
from tao_skill_bank.models.cosmos_reason.packing import Packed, Packer
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.reporter import Reporter, Step
from tao_skill_bank.models.cosmos_reason.training_setup import length_of
from tao_skill_bank.training import adapters, checkpoint, distributed, entrypoint, gradients, resume
from tao_skill_bank.training.bad_samples import SkipLog
from tao_skill_bank.training.checkpoint import Progress
from tao_skill_bank.training.divergence import Divergence
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.out_of_memory import explained
from tao_skill_bank.training.readback import Mark, Readback
from tao_skill_bank.training.saver import Saver, Subject

NOT_FINITE_FIX = "Lower train.optm_lr, lengthen train.optm_warmup_epochs, or set train.param_dtype to float32."
DIVERGED_FIX = "Lower train.optm_lr, lengthen train.optm_warmup_epochs, or set train.optm_grad_norm_clip to 1.0."


class Counts(NamedTuple):
    """Counts of the micro-batches of a step."""

    labels: float = 0
    tokens: float = 0
    samples: float = 0

    def plus(self, batch: Packed) -> "Counts":
        return Counts(self.labels + batch.num_labels, self.tokens + batch.num_tokens, self.samples + batch.num_samples)


@dataclass(frozen=True)
class Pending:
    """A step whose loss, largest loss and gradient norm are still being copied from the GPU.

    `is_interrupted`: a rank received a signal, so the training must be saved and ended.
    """

    step: int
    counts: Counts
    readback: Readback
    is_interrupted: bool


@dataclass
class Trainer:
    """The state of a training step.

    Attributes:
        trainable: the model with its adapters, which `network` computes.
        initial_adapters: see prepare.make_trainable.
        is_sharded: whether FSDP shards the weights and averages gradients; else every rank has all of them.
        weights: the trained weights.
        load: the load of a micro-batch.
        skips: the training records that could not be read.
        step: optimizer steps taken.

    """

    config: TrainConfig
    run: Run
    trainable: nn.Module
    initial_adapters: dict[str, torch.Tensor]
    network: Network
    is_sharded: bool
    weights: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    load: Load
    skips: SkipLog
    step: int = 0


def train(config: TrainConfig, run: Run) -> str:
    """Train according to the spec; write everything into the run directory. Returns the closing message."""
    _check(config)
    ranks, settings = run.ranks, config.train
    prepare.require_hardware(config, ranks)
    distributed.seed_everything(settings.seed, deterministic=settings.deterministic)
    resumed = resume.find(
        run.results_dir, settings.resume, FACTS, settings.epoch, settings.stop_epoch, settings.max_steps
    )
    base = model.find_checkpoint(config.policy.model_name_or_path, ranks)
    train_set, val_set = batches.datasets(config, Processor.load(base))
    batches.require_usable(config, run, train_set, val_set)
    fingerprint = identity.of(config, train_set.records, base, ranks.world)
    resume.require_same(resumed, fingerprint, FACTS)
    skips = SkipLog(batches.skip_policy(config), len(train_set), run.results_dir, resumed)
    trainer = _trainer(config, run, base, [train_set, *([val_set] if val_set else [])], skips)
    trained = checkpoint.Trained(trainer.trainable, trainer.optimizer)
    progress = checkpoint.load(resumed, trained, ranks, FACTS) if resumed else Progress()
    resume.prepare_run_directory(run.results_dir, resumed, ranks, FACTS)  # every check has passed
    batches.write_split(config, run, train_set, val_set)

    packer = _packer(trainer, train_set)
    order, train_batches = batches.training_batches(config, train_set, run, trainer.load, packer, skips)
    length, num_steps = length_of(settings), order.num_steps
    epochs = length.scheduled_epochs(num_steps)
    val_batches = batches.validation_batches(config, val_set, run, trainer.load, packer, epochs=epochs)
    schedule = optimizer.schedule(settings, num_steps)
    report, saver = Report(trainer, num_steps), _saver(run, settings.ckpt, Subject(trained, fingerprint, skips))
    trainer.step = progress.step

    with run.interruption.deferred(saves=settings.ckpt.enable_checkpoint), explained(*_out_of_memory(trainer)):
        for end in length.ends(progress.epoch, num_steps):
            order.begin(end, trainer.step)
            stream = iter(train_batches)
            for _ in range(order.first_step, end.num_steps):
                factor = schedule.factor(trainer.step)
                optimizer.set_learning_rates(trainer.optimizer, factor)
                taken = islice(stream, settings.train_batch_per_replica // trainer.load.samples)
                pending = _step(trainer, taken)
                report.next(pending, factor)
                if pending.is_interrupted:
                    report.flush()
                    saver.interrupt(Progress(end.epoch - 1, trainer.step))
            report.flush()  # nothing is saved before the loss is known to be a number
            _end_epoch(trainer, report, saver, val_batches, base, end)
            report.restart_clock()
        saver.wait()
    return step_limit.closing_message(FACTS, length, trainer.step, num_steps)


def _packer(trainer: Trainer, train_set: data.Records) -> Packer:
    tower_is_shared_out = trainer.is_sharded and prepare.frozen_tower(trainer.trainable) is None
    return Packer(train_set.processor, needs_media=tower_is_shared_out and bool(train_set.kinds))


def _out_of_memory(trainer: Trainer) -> tuple[str, str]:
    return out_of_memory.of_training(trainer.config, trainer.load.samples, trainer.network.execution.recompute)


def _end_epoch(
    trainer: Trainer, report: "Report", saver: Saver, val_batches: Iterable[Packed] | None, base: Path, end: EpochEnd
) -> None:
    """Validate, export and checkpoint as the spec says."""
    config, run = trainer.config, trainer.run
    keeps = config.train.ckpt
    loss = score = None
    if val_batches is not None and end.is_due(config.validation.freq_in_epoch):
        run.status.phase("validating")
        loss = validate(trainer, val_batches)
    if keeps.enable_checkpoint and run.interruption.agreed(run.ranks):  # the validation was interrupted as well
        saver.interrupt(Progress(end.epoch - 1, trainer.step))
    if loss is not None:
        score = report.reporter.validation(trainer.step, loss)
    if keeps.enable_checkpoint and end.is_due(keeps.save_freq_in_epoch):
        run.status.phase("saving the checkpoint")
        if keeps.export_safetensors:  # first, so that every resumable epoch is exported
            _export(trainer, base, end.name)
        saver.end_epoch(Progress(end.epochs_done, trainer.step), score, name=end.name)


def _saver(run: Run, settings: Checkpointing, subject: Subject) -> Saver:
    return Saver(run, subject, FACTS, max_keep=settings.max_keep, in_background=settings.save_mode == "async")


def _trainer(config: TrainConfig, run: Run, base: Path, sets: Sequence[data.Records], skips: SkipLog) -> Trainer:
    """Load the model, make it trainable, fill the feature cache, and choose the execution plan."""
    settings, ranks, pixel_format = config.train, run.ranks, sets[0].processor.pixel_format
    mesh = _mesh(config, ranks)
    run.status.phase("loading the model")
    dtype = getattr(torch, settings.param_dtype if config.policy.lora else settings.master_dtype)
    home = torch.device("cpu") if settings.fsdp_offload else ranks.device
    in_shards = config.policy.parallelism.dp_shard_size > 1 and sharded_weights.suits(base, config.policy.lora)
    if in_shards:
        trainable, initial_adapters = _skeleton(config, dtype, base, ranks.device)
    else:
        loaded = model.load(base, dtype, home, prepare.packing(config))
        start = eva.starting(config, sets[0], ranks)
        trainable, initial_adapters = prepare.make_trainable(config, loaded, base, start)
    is_cached = feature_cache.fill(config, trainable, sets, run, base)
    if sets[0].unreadable:
        skips.note(sets[0].known_bad())
        skips.agree(ranks)
    load = batches.load_of(config, sets[0])
    run.status.phase("preparing the model for training")
    execution, load = prepare.choose(config, trainable, load, ranks, features_cached=is_cached)
    network, is_sharded = prepare.prepare(config, trainable, mesh, ranks, (pixel_format, execution))
    if in_shards:
        sharded_weights.fill(trainable, base, home)
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    steps = optimizer.build(settings, trainable)
    return Trainer(config, run, trainable, initial_adapters, network, is_sharded, weights, steps, load, skips)


def _skeleton(
    config: TrainConfig, dtype: torch.dtype, base: Path, device: torch.device
) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return the trainable model without its weights, except for a frozen vision tower, which is not sharded."""
    trainable, initial = prepare.make_trainable(config, sharded_weights.skeleton(base, dtype), base)
    sharded_weights.forget(trainable, base)
    tower = prepare.frozen_tower(trainable)
    if tower is not None:
        sharded_weights.fill(trainable, base, device, only=tower)
        tower.to(device)
    return trainable, initial


class Report:
    """Reports a step while the next one runs, so that the GPU never waits for the host to read a value."""

    def __init__(self, trainer: Trainer, steps_per_epoch: int) -> None:
        self.reporter = Reporter(trainer.config, trainer.run, trainer.network, steps_per_epoch)
        self._divergence = Divergence(parts(trainer.network.model).config.text_config.vocab_size, DIVERGED_FIX)
        self._device = trainer.run.ranks.device
        self._pending: tuple[Pending, float] | None = None
        compiles = trainer.network.execution.compile
        trainer.run.status.phase(f"{'compiling and ' if compiles else ''}taking the first step")
        self.restart_clock()

    def restart_clock(self) -> None:
        """Restart the timer of the step."""
        self._began = Mark(self._device)

    def next(self, pending: Pending, lr_factor: float) -> None:
        """Take a step that was just queued, and report the one before it."""
        previous, self._pending = self._pending, (pending, lr_factor)
        if previous:
            self._report(*previous)

    def flush(self) -> None:
        """Report the last step. Raises JobFailedError when the training diverged."""
        if self._pending:
            self._report(*self._pending)
        self._pending = None

    def _report(self, pending: Pending, lr_factor: float) -> None:
        loss, largest, grad_norm = pending.readback.values()
        seconds = pending.readback.mark.seconds_since(self._began)
        self._began = pending.readback.mark
        gradients.require_finite(loss, grad_norm, NOT_FINITE_FIX)
        counts = pending.counts
        done = Step(loss, largest, grad_norm, counts.tokens, counts.samples)
        self.reporter.step(pending.step, done, lr_factor, seconds)
        self._divergence.watch(loss, pending.step)


def _mesh(config: TrainConfig, ranks: distributed.Ranks) -> Any:
    sizes = config.policy.parallelism
    return distributed.data_parallel_mesh(ranks, replicate=sizes.dp_replicate_size, shard=sizes.dp_shard_size)


def _step(trainer: Trainer, taken: Iterator[Packed]) -> Pending:
    """Take one optimizer step on the global token mean of the loss; returns values that the GPU may still compute.

    Loss = sum of token cross-entropy over all ranks and micro-batches / number of labelled tokens of the step. The sum
    is differentiated as it is and gradients are divided afterwards, so that micro-batches need not wait for each other.
    """
    run, network = trainer.run, trainer.network
    loss_sum = torch.zeros((), device=run.ranks.device)
    largest = torch.zeros((), device=run.ranks.device)
    counts = Counts()
    for batch in taken:
        batch_loss = network(batch.to_device(run.ranks.device))
        torch.autograd.backward(batch_loss)
        loss_sum += batch_loss.detach()
        largest = torch.maximum(largest, batch_loss.detach() / max(1, batch.num_labels))
        counts = counts.plus(batch)
    state = (run.interruption.is_requested, trainer.skips.num_new)
    *sums, interrupted, skipped = run.ranks.sum([*counts, *state])  # all ranks stop after the same step
    if skipped:
        trainer.skips.agree(run.ranks)
    counts = Counts(*sums)
    if not trainer.is_sharded:
        gradients.sum_over_ranks(trainer.weights, run.ranks)
    # FSDP averaged over ranks, but gradients are to be summed
    scale = (run.ranks.world if trainer.is_sharded else 1) / counts.labels
    grad_norm, factor = gradients.clipping(trainer.weights, scale, trainer.config.train.optm_grad_norm_clip)
    if trainer.step == 0:
        gradients.require_every_part_learns(trainer.network.model, part_of, NOT_FINITE_FIX)
    gradients.multiply(trainer.weights, factor)
    gradients.step_unless_not_finite(trainer.optimizer, grad_norm)
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.step += 1
    run.ranks.sum_on_device(loss_sum)
    run.ranks.max_on_device(largest)
    readback = Readback(torch.stack([loss_sum / counts.labels, largest, grad_norm]))
    return Pending(trainer.step, counts, readback, is_interrupted=interrupted > 0)


@torch.no_grad()
def validate(trainer: Trainer, stream: Iterable[Packed]) -> float:
    """Return the token mean of the loss over the whole validation set, or up to a signal. Every rank calls this."""
    ranks = trainer.run.ranks
    trainer.network.eval()
    total, tokens = torch.zeros((), device=ranks.device, dtype=torch.float64), 0
    for batch in stream:
        total += trainer.network(batch.to_device(ranks.device))
        tokens += batch.num_labels
        if trainer.run.interruption.agreed(ranks):
            break
    trainer.network.train()
    loss_sum, num_tokens = ranks.sum([total.item(), tokens])
    return loss_sum / num_tokens


def _export(trainer: Trainer, base: Path, name: str) -> None:
    """Write safetensors/NAME: an adapter folder with LoRA, else a full checkpoint in param_dtype."""
    config, run, trainable = trainer.config, trainer.run, trainer.trainable
    state = model.full_state(trainable, trained_only=config.policy.lora is not None)

    def write(folder: Path) -> None:
        if not run.ranks.is_main:
            return
        if config.policy.lora:
            adapters.write(folder, trainable, state, trainer.initial_adapters, base)
            model.copy_processor(base, folder)
        else:
            model.write_full(folder, base, state, getattr(torch, config.train.param_dtype))

    checkpoint.write_whole(run.results_dir / "safetensors" / name, write, run.ranks)


def _check(config: TrainConfig) -> None:
    """Refuse settings that the spec allows but this trainer does not support."""
    settings = config.train
    batch, micro = settings.train_batch_per_replica, settings.train_policy.mini_batch
    if batch % micro:
        message = f"train_batch_per_replica {batch} is not a multiple of mini_batch {micro}."
        fix = f"Use {max(1, batch // micro) * micro} or {(batch // micro + 1) * micro}."
        raise RequestError.of("batch_not_a_multiple", message, fix, path="train.train_batch_per_replica")
    rules.require(TRAINING_FEATURES, asdict(config))


if __name__ == "__main__":
    entrypoint.main(
        TrainConfig,
        train,
        lambda config: config.results_dir or config.train.output_dir,
        resume_key=FACTS.resume,
        load_libraries=preload.for_training,
    )
