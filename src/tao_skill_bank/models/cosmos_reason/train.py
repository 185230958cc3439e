"""Supervised fine-tuning: `torchrun ... -m tao_skill_bank.models.cosmos_reason.train --config train.toml`."""

import time
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_reason import batches, loader, model, optimizer
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.loss import token_loss_sum
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.reporter import Reporter, Step
from tao_skill_bank.training import adapters, checkpoint, distributed, entrypoint, gradients
from tao_skill_bank.training.checkpoint import Progress
from tao_skill_bank.training.entrypoint import Run

NOT_FINITE_FIX = "Lower train.optm_lr, lengthen train.optm_warmup_epochs, or set train.param_dtype to float32."


def train(config: TrainConfig, run: Run) -> str:
    """Train as the spec says; everything is written into the run directory. Returns the closing message."""
    _check(config)
    ranks, settings = run.ranks, config.train
    distributed.seed_everything(settings.seed, deterministic=settings.deterministic)
    mesh = _mesh(config, ranks)
    resumed = checkpoint.resume_from(run.results_dir, settings.resume, settings.epoch, ranks)
    base = model.find_checkpoint(config.policy.model_name_or_path, ranks)
    processor = Processor.load(base)
    train_set, val_set = batches.datasets(config, run, processor)
    loader.require_steps(len(train_set), world=ranks.world, batch=settings.train_batch_per_replica)

    network, initial_adapters = model.prepare(config, base, mesh, ranks)
    stepper = optimizer.build(settings, network)
    trained = checkpoint.Trained(network, stepper)
    progress = checkpoint.load(resumed, trained, ranks) if resumed else Progress()

    kinds = train_set.kinds | (val_set.kinds if val_set else frozenset())
    order, train_batches = batches.training_batches(config, train_set, kinds, run)
    val_batches = batches.validation_batches(config, val_set, kinds, run) if val_set else None
    schedule = optimizer.schedule(settings, order.num_steps)
    report = Reporter(config, run, network, order.num_steps)
    micro_batches = settings.train_batch_per_replica // settings.train_policy.mini_batch
    step = progress.epoch * order.num_steps

    for epoch in range(progress.epoch + 1, settings.epoch + 1):
        order.epoch = epoch
        stream = iter(train_batches)
        for _ in range(order.num_steps):
            began = time.perf_counter()
            optimizer.set_learning_rates(stepper, schedule.factor(step))
            taken = [next(stream) for _ in range(micro_batches)]
            done = _step(network, stepper, taken, processor, run, settings.optm_grad_norm_clip)
            step += 1
            report.step(step, done, schedule.factor(step - 1), time.perf_counter() - began)
        is_last = epoch == settings.epoch
        loss = None
        if val_batches is not None and (is_last or epoch % config.validation.freq_in_epoch == 0):
            loss = validate(network, val_batches, processor, run)
            report.validation(step, loss)
        if settings.ckpt.enable_checkpoint and (is_last or epoch % settings.ckpt.save_freq_in_epoch == 0):
            if settings.ckpt.export_safetensors:  # first: an epoch that can be resumed from is exported too
                _export(config, run, network, initial_adapters, epoch)
            checkpoint.save(run.results_dir, trained, Progress(epoch, step), ranks)
            if ranks.is_main:
                checkpoint.keep(run.results_dir, epoch, loss, settings.ckpt.max_keep)
    return f"Trained {settings.epoch} epochs, {step} steps."


def _mesh(config: TrainConfig, ranks: distributed.Ranks) -> Any:
    sizes = config.policy.parallelism
    return distributed.data_parallel_mesh(ranks, replicate=sizes.dp_replicate_size, shard=sizes.dp_shard_size)


def _step(network: Any, stepper: Any, taken: list[loader.Batch], processor: Processor, run: Run, clip: float) -> Step:
    """Take one optimizer step on the global token mean of the loss.

    Loss = sum of token cross-entropy over all ranks and micro-batches / number of labelled tokens of the step. FSDP
    averages gradients over ranks, hence the factor `world`.
    """
    ranks = run.ranks
    counts = ranks.sum([sum(batch.num_labels for batch in taken), *_sizes(taken)])
    total, largest = 0.0, 0.0
    for batch in taken:
        loss_sum = token_loss_sum(network, loader.to_device(batch, ranks.device, processor))
        scaled = loss_sum * (ranks.world / counts[0])
        torch.autograd.backward(scaled)
        value = loss_sum.item()
        total, largest = total + value, max(largest, value / max(1, batch.num_labels))
    loss = ranks.sum([total])[0] / counts[0]
    grad_norm = gradients.clip(network.parameters(), clip)
    gradients.require_finite(loss, grad_norm, NOT_FINITE_FIX)
    stepper.step()
    stepper.zero_grad(set_to_none=True)
    return Step(loss, ranks.max([largest])[0], grad_norm, counts[1], counts[2])


@torch.no_grad()
def validate(network: Any, stream: loader.Batches, processor: Processor, run: Run) -> float:
    """Return the token mean of the loss over the whole validation set. Every rank calls this."""
    network.eval()
    total, tokens = 0.0, 0
    for batch in stream:
        total += token_loss_sum(network, loader.to_device(batch, run.ranks.device, processor)).item()
        tokens += batch.num_labels
    network.train()
    loss_sum, num_tokens = run.ranks.sum([total, tokens])
    return loss_sum / num_tokens


def _export(config: TrainConfig, run: Run, network: Any, initial: dict[str, torch.Tensor], epoch: int) -> None:
    """Write safetensors/epoch_N: an adapter folder with LoRA, else a full checkpoint in param_dtype."""
    base = model.find_checkpoint(config.policy.model_name_or_path, run.ranks)
    state = model.full_state(network, trained_only=config.policy.lora is not None)

    def write(folder: Path) -> None:
        if not run.ranks.is_main:
            return
        if config.policy.lora:
            adapters.write(folder, network, state, initial, base)
            model.copy_processor(base, folder)
        else:
            model.write_full(folder, base, state, getattr(torch, config.train.param_dtype))

    checkpoint.write_whole(run.results_dir / "safetensors" / f"epoch_{epoch}", write, run.ranks)


def _sizes(taken: list[loader.Batch]) -> list[int]:
    return [sum(batch.num_tokens for batch in taken), sum(batch.num_samples for batch in taken)]


def _check(config: TrainConfig) -> None:
    """Refuse what the spec allows and this trainer cannot do."""
    settings = config.train
    batch, micro = settings.train_batch_per_replica, settings.train_policy.mini_batch
    if batch % micro:
        message = f"train_batch_per_replica {batch} is no multiple of mini_batch {micro}."
        fix = f"Use {max(1, batch // micro) * micro} or {(batch // micro + 1) * micro}."
        raise RequestError.of("batch_not_a_multiple", message, fix, path="train.train_batch_per_replica")
    if settings.ckpt.save_mode == "async":
        message = "Asynchronous checkpoints are not implemented."
        raise RequestError.of("async_checkpoint", message, "Set train.ckpt.save_mode to sync.")


if __name__ == "__main__":
    entrypoint.main(TrainConfig, train, lambda config: config.results_dir or config.train.output_dir)
