"""Tells preflight, in model-neutral terms, what a spec of this skill will load and run."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.bank import early_stop
from tao_skill_bank.contracts import ClipDataset, Workload
from tao_skill_bank.models.cosmos_predict.geometry import TEMPORAL_COMPRESSION

Spec = Mapping[str, Any]
UNSIZED = (
    "train.resume",
    "train.stop_epoch",
    "train.seed",
    "train.optm_lr",
    "train.optm_weight_decay",
    "train.optm_betas",
    "train.epsilon",
    "train.optm_grad_norm_clip",
    "train.epoch",
    "train.warmup_steps",
    "train.schedule_steps",
    "train.f_min",
    "train.f_max",
    "train.ema_decay",
    "lora.lora_alpha",
    "lora.lora_dropout",
)  # see Workload


def describe(action: str, spec: Spec) -> Workload:
    """Return the workload of a valid nested spec."""
    return DESCRIBERS[action](spec)


def _train(spec: Spec) -> Workload:
    train, dataset, checkpoints = spec["train"], spec["dataset"], spec["ckpt"]
    validates = spec["validation"]["enable"]
    clips = [_clips("train", dataset["train_dir"], dataset["num_frames"])]
    if dataset.get("val_dir") and validates:
        clips.append(_clips("eval", dataset["val_dir"], dataset["num_frames"]))
    last = early_stop.last_epoch(train["epoch"], train.get("stop_epoch"))
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"],
        resume_from=train["resume"] if isinstance(train["resume"], str) else None,
        resume=bool(train["resume"]),
        trains=True,
        uses_adapter=True,
        clips=tuple(clips),
        data_parallel_ranks=train["num_gpus"] * train["num_nodes"],
        batch_per_rank=train["batch_size"] * train["gradient_accumulation_steps"],
        micro_batch=train["batch_size"],
        epochs=last,
        scheduled_epochs=train["epoch"],
        num_frames=dataset["num_frames"],
        validation_split=dataset["test_size"] if validates and len(clips) == 1 else 0,
        max_checkpoints=checkpoints["max_keep"] or 1,
        num_saves=math.ceil(last / checkpoints["save_freq_in_epoch"]),
        unsized=UNSIZED,
    )


def _prepare(spec: Spec) -> Workload:
    source = ClipDataset(
        "train",
        spec["source"],
        spec["min_frames"],
        frame_step=TEMPORAL_COMPRESSION,
        nested=True,
        captions=spec["caption_source"],
        caption_key=spec["caption_key"],
        skips_unusable=spec["skip_unusable"],
    )
    return Workload(clips=(source,), prompts=_pairs_folder(spec.get("test_source"), spec["test_folder"]))


def _pairs_folder(source: str | None, folder: str) -> str | None:
    """Return where the test pairs are; of a dataset on the hub only its name is known here."""
    if not source or "://" in source:
        return source
    below = Path(source) / folder
    return str(below) if folder and below.is_dir() else source


def _generate(spec: Spec) -> Workload:
    media = [spec[name] for name in ("image", "video") if spec.get(name)]
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"],
        adds=spec["skip_saved"],
        uses_adapter=bool(spec["adapters"]),
        adapters=tuple(adapter["path"] for adapter in spec["adapters"]),
        prompts=spec.get("inputs"),
        media=tuple(media),
        data_parallel_ranks=spec["num_gpus"],
        micro_batch=spec["batch_size"],
        num_frames=1 if media else None,
    )


def _evaluate(spec: Spec) -> Workload:
    return Workload(model=spec["judge"].get("model") or "", data_parallel_ranks=spec["num_gpus"])


def _export(spec: Spec) -> Workload:
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"], uses_adapter=True, adapters=(spec["adapter_path"],)
    )


def _clips(role: Literal["train", "eval"], folder: str, num_frames: int) -> ClipDataset:
    return ClipDataset(role, folder, num_frames, frame_step=TEMPORAL_COMPRESSION)


DESCRIBERS = {
    "train": _train,
    "prepare": _prepare,
    "generate": _generate,
    "evaluate": _evaluate,
    "export": _export,
}
