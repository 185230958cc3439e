"""Describes to preflight, in model-neutral terms, what a spec of this skill loads and runs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import early_stop
from tao_skill_bank.contracts import Input, Limit, WarmUp, Workload
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE, TEMPORAL_COMPRESSION
from tao_skill_bank.models.cosmos_predict.text_limit import PROMPT_TOKENS

Spec = Mapping[str, Any]
# What `generated_videos` reads: the list that generate writes, else videos in a folder or in one folder per variant.
GENERATED = ("results.json", "*.mp4", "*/*.mp4", "videos/*/*.mp4")
UNSIZED = (
    "dataset.on_bad_sample",
    "dataset.max_bad_share",
    "train.resume",
    "train.stop_epoch",
    "train.max_steps",
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
    reading = {
        "frames_per_second": float(dataset["fps"]),
        "rate_key": "dataset.fps",
        "text_prefix": dataset["caption_prefix"],
        "frame_size": [dataset["height"], dataset["width"]],
        "size_keys": ["dataset.height", "dataset.width"],
        "size_multiple": SIZE_MULTIPLE,
        "keeps_aspect": dataset["aspect_buckets"],
        "aspect_key": "dataset.aspect_buckets",
    }
    clips = [_clips("train", dataset["train_dir"], dataset["num_frames"], **reading)]
    if dataset.get("val_dir") and validates:
        clips.append(_clips("eval", dataset["val_dir"], dataset["num_frames"], **reading))
    last = early_stop.last_epoch(train["epoch"], train.get("stop_epoch"))
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"],
        resume_from=train["resume"] if isinstance(train["resume"], str) else None,
        resume=bool(train["resume"]),
        trains=True,
        uses_adapter=True,
        inputs=tuple(clips),
        data_parallel_ranks=train["num_gpus"] * train["num_nodes"],
        batch_per_rank=train["batch_size"] * train["gradient_accumulation_steps"],
        micro_batch=train["batch_size"],
        epochs=last,
        scheduled_epochs=train["epoch"],
        max_steps=train.get("max_steps"),
        num_frames=dataset["num_frames"],
        validation_split=dataset["test_size"] if validates and len(clips) == 1 else 0,
        max_checkpoints=checkpoints["max_keep"] or 1,
        num_saves=math.ceil(last / checkpoints["save_freq_in_epoch"]),
        warm_up=WarmUp("train.warmup_steps", steps=train.get("warmup_steps", 0)),
        unsized=UNSIZED,
    )


def _prepare(spec: Spec) -> Workload:
    source = _clips(
        "train",
        spec["source"],
        spec["min_frames"],
        nested=True,
        captions=spec["caption_source"],
        caption_key=spec["caption_key"],
        skips_unusable=spec["skip_unusable"],
        text_prefix=spec["prefix"],
    )
    pairs = spec.get("test_source")
    test = [_prompts(_pairs_folder(pairs, spec["test_folder"]))] if pairs else []
    return Workload(inputs=(source, *test))


def _pairs_folder(source: str, folder: str) -> str:
    """Return the folder of the test pairs; for a dataset on the hub, only its name is known here."""
    if "://" in source:
        return source
    below = Path(source) / folder
    return str(below) if folder and below.is_dir() else source


def _generate(spec: Spec) -> Workload:
    media = [
        Input("media", "media_file", {"path": spec[name]}, {"media": name})
        for name in ("image", "video")
        if spec.get(name)
    ]
    prompts = [_prompts(spec["inputs"])] if spec.get("inputs") else []
    adapters = [Input("adapter", "adapter", {"path": adapter["path"]}) for adapter in spec["adapters"]]
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"],
        adds=spec["skip_saved"],
        uses_adapter=bool(spec["adapters"]),
        inputs=(*prompts, *media, *adapters),
        data_parallel_ranks=spec["num_gpus"],
        limit=Limit("limit", spec["limit"]) if spec.get("limit") else None,
        micro_batch=spec["batch_size"],
        num_frames=1 if media else None,
    )


def _evaluate(spec: Spec) -> Workload:
    results = Input("generated", "job_results", {"path": spec["generated_dir"]}, {"any_of": list(GENERATED)})
    reference = [Input("reference", "clips", {"path": spec["reference_dir"]})] if spec.get("reference_dir") else []
    return Workload(
        model=spec["judge"].get("model") or "",
        inputs=(results, *reference),
        data_parallel_ranks=spec["num_gpus"],
    )


def _export(spec: Spec) -> Workload:
    return Workload(
        model=spec["model"]["pretrained_model_name_or_path"],
        uses_adapter=True,
        inputs=(Input("adapter", "adapter", {"path": spec["adapter_path"]}),),
    )


def _clips(role: str, folder: str, num_frames: int, **options: Any) -> Input:
    options = {
        "min_frames": num_frames,
        "frame_step": TEMPORAL_COMPRESSION,
        "text_tokens": PROMPT_TOKENS,
        **options,
    }
    return Input(role, "captioned_clips", {"path": folder}, options)


def _prompts(source: str) -> Input:
    return Input("eval", "prompt_pairs", {"path": source}, {"text_tokens": PROMPT_TOKENS})


DESCRIBERS = {
    "train": _train,
    "prepare": _prepare,
    "generate": _generate,
    "evaluate": _evaluate,
    "export": _export,
}
