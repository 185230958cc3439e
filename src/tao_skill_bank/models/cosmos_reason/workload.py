"""Describes to preflight, in model-neutral terms, what a spec of this skill loads and runs."""

import math
from collections.abc import Mapping
from typing import Any

from tao_skill_bank.bank import early_stop
from tao_skill_bank.contracts import HardwareNeed, Input, Limit, WarmUp, Workload
from tao_skill_bank.models.cosmos_reason.reserved_tokens import RESERVED_TOKENS

Spec = Mapping[str, Any]
# The oldest GPU architecture that computes in a scheme, from vLLM's list of supported hardware: int8 from Turing,
# weight-only kernels from Ampere, float8 from Ada and Hopper, 4-bit floats from Blackwell.
SCHEME_ARCHITECTURE = {"W8A8": 75, "W4A16": 80, "W8A16": 80, "FP8": 89, "FP8_DYNAMIC": 89, "NVFP4": 100}
FLOAT8_ARCHITECTURE = 89
RATES = "train.optm_lr"
UNSIZED = (
    "custom.on_bad_sample",
    "custom.max_bad_share",
    "train.resume",
    "train.stop_epoch",
    "train.seed",
    RATES,  # not so a list: a rate of a part that is not trained is refused
    "train.optm_weight_decay",
    "train.optm_betas",
    "train.epsilon",
    "train.optm_grad_norm_clip",
    "train.optm_min_lr_factor",
    "train.optm_warmup_epochs",
    "train.optm_decay_type",
    "policy.lora.lora_alpha",
    "policy.lora.lora_dropout",
)  # see Workload


def describe(action: str, spec: Spec) -> Workload:
    """Return the workload of a valid nested spec."""
    return DESCRIBERS[action](spec)


def _train(spec: Spec) -> Workload:
    train, policy, custom = spec["train"], spec["policy"], spec["custom"]
    policy_block = train["train_policy"]
    parallelism = policy["parallelism"]
    conversations_key = policy_block["conversation_column_name"]
    checkpoints, validates = train["ckpt"], spec["validation"]["enable"]
    datasets = [_use("train", custom["train_dataset"], "media_path", conversations_key, **_skipping(spec))]
    if custom.get("val_dataset") and validates:
        datasets.append(_use("eval", custom["val_dataset"], "media_path", conversations_key))
    last = early_stop.last_epoch(train["epoch"], train.get("stop_epoch"))
    vision = custom["vision"]
    return Workload(
        model=policy["model_name_or_path"],
        resume_from=train["resume"] if isinstance(train["resume"], str) else None,
        resume=bool(train["resume"]),
        trains=True,
        needs_whole_weights=True,
        uses_adapter=bool(policy.get("lora")),
        inputs=tuple(datasets),
        data_parallel_ranks=parallelism["dp_shard_size"] * parallelism["dp_replicate_size"],
        batch_per_rank=train["train_batch_per_replica"],
        micro_batch=train["train_policy"]["mini_batch"],
        epochs=last,
        scheduled_epochs=train["epoch"],
        max_steps=train.get("max_steps"),
        max_tokens=policy["model_max_length"],
        fps=vision.get("fps"),
        num_frames=vision.get("nframes"),
        validation_split=policy_block["dataset"]["test_size"] if validates and len(datasets) == 1 else 0,
        max_checkpoints=(checkpoints["max_keep"] or 1) if checkpoints["enable_checkpoint"] else 0,
        num_saves=math.ceil(last / checkpoints["save_freq_in_epoch"]),
        hardware=_float8_training() if train["fp8"]["enable_fp8"] else None,
        warm_up=WarmUp("train.optm_warmup_epochs", epochs=train.get("optm_warmup_epochs", 0)),
        unsized=tuple(set(UNSIZED) - {RATES}) if isinstance(train.get("optm_lr"), list) else UNSIZED,
    )


def _skipping(spec: Spec) -> dict[str, float]:
    """Return the share of training records that may be skipped; none where records are split off to validate on."""
    custom, options = spec["custom"], spec["train"]["train_policy"]["dataset"]
    is_split = spec["validation"]["enable"] and not custom.get("val_dataset") and options["test_size"]
    skips = custom.get("on_bad_sample") == "skip" and not is_split
    return {"skipped_share": custom["max_bad_share"]} if skips else {}


def _float8_training() -> HardwareNeed:
    what, fix = "FP8 training (train.fp8.enable_fp8)", "Set train.fp8.enable_fp8=false."
    return HardwareNeed(FLOAT8_ARCHITECTURE, what, fix, computes=True)


def _evaluate(spec: Spec) -> Workload:
    model, vision = spec["model"], spec["vision"]
    named, limit = model.get("tokenizer_model_name"), spec["evaluation"]["limit"]
    tokenizer = [Input("tokenizer", "model_folder", {"path": named})] if named else []
    return Workload(
        model=model["model_name"],
        sized=True,
        adds=spec["evaluation"]["skip_saved"],
        base_model=_base(model),
        uses_adapter=model["enable_lora"],
        needs_whole_weights=model["enable_lora"],
        inputs=(_use("eval", spec["dataset"], "media_dir"), *tokenizer),
        data_parallel_ranks=spec["num_gpus"],
        limit=Limit("evaluation.limit", limit, takes_all=-1) if limit > 0 else None,
        micro_batch=spec["evaluation"]["batch_size"],
        max_tokens=model["max_length"],
        fps=vision.get("fps"),
        num_frames=vision.get("nframes"),
    )


def _embed(spec: Spec) -> Workload:
    model, vision, embedding = spec["model"], spec["vision"], spec["embedding"]
    is_joint = embedding["kind"] == "joint"
    skipped = {"skipped_share": embedding["max_bad_share"]} if embedding["on_bad_sample"] == "skip" else {}
    return Workload(
        model=model["model_name"],
        sized=True,
        adds=True,
        base_model=_base(model),
        uses_adapter=model["enable_lora"],
        needs_whole_weights=model["enable_lora"] or is_joint,
        inputs=(_use("embed", spec["dataset"], "media_dir", needs_turns=False, **skipped),),
        data_parallel_ranks=spec["num_gpus"],
        max_tokens=model["max_length"] if is_joint else None,
        fps=vision.get("fps"),
        num_frames=vision.get("nframes"),
    )


def _quantize(spec: Spec) -> Workload:
    model, vision = spec["model"], spec["vision"]
    datasets = [_use("calibration", spec["calibration_dataset"], "media_dir")]
    if spec.get("dataset"):
        datasets.append(_use("eval", spec["dataset"], "media_dir"))
    return Workload(
        model=model["model_path"],
        needs_whole_weights=True,
        sized=True,
        base_model=_base(model),
        uses_adapter=model["enable_lora"],
        inputs=tuple(datasets),
        max_tokens=spec["quantize"]["max_sequence_length"],
        fps=vision.get("fps"),
        num_frames=vision.get("nframes"),
        hardware=_serving(spec["quantize"]),
    )


def _serving(options: Spec) -> HardwareNeed:
    """Return the GPU that the quantized checkpoint is for. Making and evaluating it needs no such GPU."""
    scheme, kv_fp8 = options["quantization_scheme"], options["kv_precision"] == "fp8"
    architecture, what = SCHEME_ARCHITECTURE[scheme], f"{scheme} arithmetic"
    others = [name for name, needed in SCHEME_ARCHITECTURE.items() if needed < architecture]
    choice = f"set quantize.quantization_scheme to {' or '.join(others)}"
    if kv_fp8 and architecture < FLOAT8_ARCHITECTURE:
        architecture, what = FLOAT8_ARCHITECTURE, "A float8 key-value cache"
        choice = "set quantize.kv_precision=bf16"
    elif kv_fp8 and architecture == FLOAT8_ARCHITECTURE:
        choice += " with quantize.kv_precision=bf16"
    fix = f"Set quantize.for_another_machine=true if another machine serves it, or {choice}."
    return HardwareNeed(architecture, what, fix, required=not options["for_another_machine"])


def _inference(spec: Spec) -> Workload:
    return Workload(
        model=spec["model_path"],
        sized=True,
        base_model=_base(spec),
        uses_adapter=spec["enable_lora"],
        needs_whole_weights=spec["enable_lora"],
        inputs=(Input("media", "media_file", {"path": spec["media"]}, {"media": spec["type"]}),),
        fps=spec.get("fps") if spec["type"] == "video" else None,
        num_frames=spec.get("num_frames") if spec["type"] == "video" else None,
    )


def _export(spec: Spec) -> Workload:
    return Workload(
        model=spec["model_path"],
        needs_whole_weights=True,
        base_model=_base(spec),
        uses_adapter=spec["enable_lora"],
    )


def _base(model: Spec) -> str | None:
    return model["base_model_path"] if model["enable_lora"] else None


def _use(role: str, dataset: Spec, media_key: str, conversations_key: str = "conversations", **more: float) -> Input:
    paths = {"annotation_path": dataset["annotation_path"], "media_path": dataset[media_key]}
    options = {"conversations_key": conversations_key, "reserved_tokens": list(RESERVED_TOKENS), **more}
    return Input(role, "annotations", paths, options)


DESCRIBERS = {
    "train": _train,
    "evaluate": _evaluate,
    "embed": _embed,
    "quantize": _quantize,
    "inference": _inference,
    "export": _export,
}
