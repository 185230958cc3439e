"""LoRA and DoRA: `torchrun ... -m tao_skill_bank.models.cosmos_predict.train --config train.toml`."""

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.bank import execution, rules, step_limit
from tao_skill_bank.bank.step_limit import EpochEnd, Length
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.models.cosmos_predict import (
    adapter_folder,
    adapters,
    batches,
    contexts,
    dataset,
    flow,
    generator,
    identity,
    inspect,
    latents,
    memory,
    pipeline,
    preload,
)
from tao_skill_bank.models.cosmos_predict.batches import Item, Loaded, Order, Windows
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.config.rules import LENGTH_RULES
from tao_skill_bank.models.cosmos_predict.contexts import Contexts
from tao_skill_bank.models.cosmos_predict.ema import Ema
from tao_skill_bank.models.cosmos_predict.facts import FACTS
from tao_skill_bank.models.cosmos_predict.latents import Base, Latents
from tao_skill_bank.models.cosmos_predict.reporter import Reporter, Step
from tao_skill_bank.models.cosmos_predict.transformer import Checkpointing, Denoiser, Execution
from tao_skill_bank.models.cosmos_predict.validation import HeldOut
from tao_skill_bank.training import checkpoint, distributed, entrypoint, gradients, resume
from tao_skill_bank.training.bad_samples import Policy, SkipLog
from tao_skill_bank.training.checkpoint import Progress
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.out_of_memory import explained
from tao_skill_bank.training.saver import Saver, Subject
from tao_skill_bank.training.schedule import Schedule

logger = logging.getLogger(__name__)
OUT_OF_MEMORY_FIX = (
    "Lower train.batch_size and raise train.gradient_accumulation_steps as much, set train.gradient_checkpointing to "
    "full, or lower dataset.height, dataset.width or dataset.num_frames."
)
NOT_FINITE_FIX = "Lower train.optm_lr, lengthen train.warmup_steps, or set train.mixed_precision to no."


@dataclass
class Trainer:
    """The state of a training step. `network` is the denoiser, wrapped for several ranks; `dit` holds the adapters."""

    config: TrainConfig
    run: Run
    dit: Any
    denoiser: Denoiser
    network: Any
    accelerator: Any
    optimizer: torch.optim.Optimizer
    latents: Latents
    contexts: Contexts
    ema: Ema | None
    skips: SkipLog


def train(config: TrainConfig, run: Run) -> str:
    """Train according to the spec; write everything into the run directory. Returns the closing message."""
    settings, ranks = config.train, run.ranks
    rules.require(LENGTH_RULES, asdict(config))  # a config may come here unplanned
    distributed.seed_everything(settings.seed, deterministic=False)
    resumed = resume.find(
        run.results_dir, settings.resume, FACTS, settings.epoch, settings.stop_epoch, settings.max_steps
    )
    items, held_out = dataset.find_items(config)
    order = Order(items, settings.batch_size, settings.gradient_accumulation_steps, ranks.world, settings.seed)
    windows = Windows(
        config.dataset.num_frames,
        settings.seed,
        kept=config.dataset.windows_per_clip if config.dataset.cache_latents else 0,
    )
    num_steps, length = order.num_steps, Length(settings.epoch, settings.stop_epoch, settings.max_steps)
    fingerprint = identity.of(config, items, ranks.world)
    resume.require_same(resumed, fingerprint, FACTS)
    material = _material(config, run, windows, (items, held_out))
    skips = _skip_log(config, run, items, resumed, material[0])
    trainer = _trainer(config, run, material, skips)
    trained = checkpoint.Trained(trainer.dit, trainer.optimizer, trainer.ema.averages if trainer.ema else {})
    progress = checkpoint.load(resumed, trained, ranks, FACTS) if resumed else Progress()
    resume.prepare_run_directory(run.results_dir, resumed, ranks, FACTS)  # every check has passed
    report = Reporter(config, run, memory.step_flops(memory.shape_of(trainer.dit), inspect.load_of(config)), num_steps)
    judged = HeldOut(config, held_out, material) if held_out else None
    if judged and not resumed:
        run.status.phase("validating the base model")
        trainer.dit.eval()
        report.validation(0, judged.loss(trainer.denoiser, run))  # the base without adapters
        trainer.dit.train()

    saver = Saver(run, Subject(trained, fingerprint, skips), FACTS, max_keep=config.ckpt.max_keep)
    run.status.phase(f"{'compiling and ' if trainer.denoiser.execution.compile else ''}taking the first step")
    step, accumulation = progress.step, settings.gradient_accumulation_steps
    with run.interruption.deferred(), explained(f"{settings.batch_size} clip(s) at a time", OUT_OF_MEMORY_FIX):
        for end in length.ends(progress.epoch, num_steps):
            first = step - (end.epoch - 1) * num_steps
            own = batches.with_substitutes(order.micro_batches(end.epoch, ranks.rank), skips)
            micro_batches = batches.read_ahead(
                own[first * accumulation : end.num_steps * accumulation],
                partial(_load, material[0], windows, end.epoch),
                config.dataset.dataloader_num_workers,
            )
            for _ in range(first, end.num_steps):
                began = time.perf_counter()
                done = _step(trainer, [next(micro_batches) for _ in range(accumulation)], step)
                step += 1
                report.step(step, done, time.perf_counter() - began)
                if done.is_interrupted:
                    saver.interrupt(Progress(end.epoch - 1, step))
            _end_epoch(trainer, judged, report, saver, (end, step))
    return step_limit.closing_message(FACTS, length, step, num_steps)


def _skip_log(config: TrainConfig, run: Run, items: list[Item], resumed: Path | None, latents: Latents) -> SkipLog:
    """Return the log of skipped clips, which begins with those that could not be encoded."""
    dataset = config.dataset
    policy = Policy(dataset.on_bad_sample == "skip", dataset.max_bad_share, "dataset.max_bad_share")
    skips = SkipLog(policy, len(items), run.results_dir, resumed)
    if latents.unreadable:
        skips.note(latents.unreadable)
        skips.agree(run.ranks)
    return skips


def _load(source: Latents, windows: Windows, epoch: int, item: Item) -> Tensor:
    return source.load(item, windows.start(item, epoch))


def _material(
    config: TrainConfig, run: Run, windows: Windows, every: tuple[list[Item], list[Item]]
) -> tuple[Latents, Contexts]:
    """Encode captions, free the text encoder, then encode windows: with one large model on the GPU at a time."""
    run.status.phase(f"finding the model {config.model.pretrained_model_name_or_path}")
    base = Base(
        pipeline.find_pipeline(config.model.pretrained_model_name_or_path, run.ranks),
        torch.bfloat16 if config.train.mixed_precision == "bf16" else torch.float32,
        config.model.variant,
    )
    items, held_out = every
    captions = [item.caption for item in (*items, *held_out)]
    if config.validation.sample_videos:
        captions.append(generator.pipeline_negative_prompt())
    texts = contexts.prepare(captions, base, run, keep=config.dataset.cache_text)
    fixed = Windows(windows.num_frames, windows.seed, kept=1)
    wanted = [(item, start) for item in items for start in windows.starts(item)]
    wanted += [(item, start) for item in held_out for start in fixed.starts(item)]
    source = Latents(base, windows.num_frames, run.ranks.device)
    lenient = items if config.dataset.on_bad_sample == "skip" else []
    return latents.prepare(wanted, source, run, keep=config.dataset.cache_latents, lenient=lenient), texts


def _trainer(config: TrainConfig, run: Run, material: tuple[Latents, Contexts], skips: SkipLog) -> Trainer:
    from accelerate import Accelerator

    settings, base, device = config.train, material[0].base, run.ranks.device
    run.status.phase("loading the model")
    dit = adapters.add(pipeline.load_transformer(base.folder, base.dtype, device, base.variant), config.lora)
    dit.train()
    denoiser = Denoiser(dit, _execution(config, dit, device))
    accelerator = Accelerator(cpu=device.type == "cpu")
    weights = [parameter for parameter in dit.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights,
        lr=settings.optm_lr,
        betas=(settings.optm_betas[0], settings.optm_betas[1]),
        eps=settings.epsilon,
        weight_decay=settings.optm_weight_decay,
        fused=True,
    )
    return Trainer(
        config=config,
        run=run,
        dit=dit,
        denoiser=denoiser,
        network=accelerator.prepare_model(denoiser),
        accelerator=accelerator,
        optimizer=optimizer,
        latents=material[0],
        contexts=material[1],
        ema=Ema(dit, settings.ema_decay) if settings.ema_decay else None,
        skips=skips,
    )


def _execution(config: TrainConfig, dit: Any, device: torch.device) -> Execution:
    """Choose checkpointing by the memory of the GPU, and compile on a GPU, unless the spec says otherwise."""
    capacity = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    plans = memory.execution_plans(memory.shape_of(dit), inspect.load_of(config), inspect.allowed_modes(config))
    choice = execution.choose(plans, capacity)
    compiles = config.train.compile == "true" or (config.train.compile == "auto" and device.type == "cuda")
    mode: Checkpointing = (
        "none" if capacity is None and len(plans) > 1 else choice.plan.settings["train.gradient_checkpointing"]
    )
    logger.info("gradient checkpointing %s, compile %s: %s", mode, compiles, choice.reason)
    return Execution(mode, compile=compiles)


def _step(trainer: Trainer, taken: Sequence[Loaded], step: int) -> Step:
    """Take one optimizer step on the mean loss over the clips of all ranks and micro-batches."""
    settings, ranks = trainer.config.train, trainer.run.ranks
    factor = _schedule(trainer.config).factor(step) * settings.f_max
    for group in trainer.optimizer.param_groups:
        group["lr"] = settings.optm_lr * factor
    loss = torch.zeros((), device=ranks.device)
    public = torch.zeros((), device=ranks.device)
    for number, batch in enumerate(taken):
        trainer.skips.note(batch.skipped)
        is_last = number == len(taken) - 1
        seed = batches.mixed(
            settings.seed, step, number * ranks.world + ranks.rank
        )  # one seed per micro-batch of the step
        with nullcontext() if is_last else trainer.accelerator.no_sync(trainer.network):
            found = _losses(trainer, batch.items, batch.tensors, seed)
            (found.predicted.mean() / len(taken)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        loss += found.predicted.detach().mean() / len(taken)
        public += found.public.mean() / len(taken)
    state = (trainer.run.interruption.is_requested, trainer.skips.num_new)
    *sums, interrupted, skipped = ranks.sum([loss.item(), public.item(), *state])  # all ranks stop at the same step
    if skipped:
        trainer.skips.agree(ranks)
    mean_loss, mean_public = (value / ranks.world for value in sums)
    if step == 0:
        _gate(mean_loss, settings.first_loss_limit)
    grad_norm = gradients.clip(trainer.dit.parameters(), settings.optm_grad_norm_clip)
    gradients.require_finite(mean_loss, grad_norm, NOT_FINITE_FIX)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)
    if trainer.ema:
        trainer.ema.update()
    samples = len(taken) * settings.batch_size * ranks.world
    return Step(mean_loss, mean_public, grad_norm, settings.optm_lr * factor, samples, interrupted > 0)


def _losses(trainer: Trainer, items: list[Item], loaded: Tensor, seed: int) -> flow.Losses:
    settings = trainer.config.flow
    clean = trainer.latents.encode(loaded)
    draw = flow.draw_batch(clean, settings, seed)
    context = trainer.contexts.of([item.caption for item in items], draw.dropped)
    return flow.losses(trainer.network, clean, context, draw, settings.conditional_frame_timestep)


def _gate(loss: float, limit: float) -> None:
    """Stop before the first optimizer step when the base has implausible weights."""
    if not limit or loss <= limit:
        return
    message = (
        f"The first loss is {loss:.2f}, above train.first_loss_limit {limit:g}: the base has random or wrong weights."
    )
    fix = (
        "Check the checkpoint (tao-skills models resolve NAME), or raise train.first_loss_limit if the base is correct."
    )
    raise JobFailedError.of("first_loss_too_high", message, fix, path="train.first_loss_limit")


def _schedule(config: TrainConfig) -> Schedule:
    """Linear warm-up to 1, then linear decay to f_min / f_max; f_max scales both."""
    settings = config.train
    floor = settings.f_min / settings.f_max
    return Schedule(settings.schedule_steps, settings.warmup_steps, "linear", floor)


def _end_epoch(
    trainer: Trainer, judged: HeldOut | None, report: Reporter, saver: Saver, at: tuple[EpochEnd, int]
) -> None:
    """Validate, export and checkpoint as the spec says, after a step; with an average, use the average for both."""
    config, run, (end, step) = trainer.config, trainer.run, at
    score = None
    with trainer.ema.applied() if trainer.ema else nullcontext():
        if judged and end.is_due(config.validation.freq_in_epoch):
            run.status.phase("validating")
            trainer.dit.eval()
            score = report.validation(step, judged.loss(trainer.denoiser, run))
            if config.validation.sample_videos:
                run.status.phase("generating sample videos")
                folder = run.results_dir / "samples" / end.name
                judged.sample_videos(trainer.denoiser, folder, generator.pipeline_negative_prompt(), run)
            trainer.dit.train()
        saves = end.is_due(config.ckpt.save_freq_in_epoch)
        # The best is kept whatever the epoch.
        improves = score is not None and checkpoint.is_best(run.results_dir, score, FACTS.metric)
        if not saves and not improves:
            return
        run.status.phase("saving the checkpoint")
        base = trainer.latents.base.folder

        def write(folder: Any) -> None:
            if run.ranks.is_main:
                adapter_folder.write(folder, trainer.dit, base)

        checkpoint.write_whole(run.results_dir / "safetensors" / end.name, write, run.ranks)
    saver.end_epoch(Progress(end.epochs_done, step), score, saves=saves, name=end.name)


if __name__ == "__main__":
    entrypoint.main(
        TrainConfig,
        train,
        lambda config: config.results_dir or config.train.output_dir,
        resume_key=FACTS.resume,
        load_libraries=preload.for_pipeline,
    )
