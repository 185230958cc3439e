"""Cross-field rules of this skill's specs. Each gives a fix with the nearest valid values."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tao_skill_bank.bank import rules
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.errors import Problem
from tao_skill_bank.models.cosmos_reason.config.feature_rules import TRAINING_FEATURES
from tao_skill_bank.models.cosmos_reason.config.prompt_rules import is_plain_text

VIDEO_MIN_LENGTH = 40960
HELD_OUT = 0.1  # of the training records, where no others are there to validate on
MAX_LENGTH = 128000  # the default of model.max_length: memory grows with what is read, not with this bound
DENSE = ("nvidia/Cosmos-Reason2-8B", "nvidia/Cosmos-Reason2-2B", "Qwen/Qwen3-VL-32B-Instruct")
BUILTIN = "builtin://"
MIXTURE = re.compile(r"\bQwen3-VL-\d+B-A\d+B\b", re.IGNORECASE)  # total and active parameters


def _batch_is_a_multiple(batch: int, mini_batch: int) -> Problem | None:
    if batch % mini_batch == 0:
        return None
    below, above = batch // mini_batch * mini_batch, (batch // mini_batch + 1) * mini_batch
    fix = f"Set train.train_batch_per_replica to {below} or {above}; a smaller batch needs no more records per rank."
    fix_set = {"train.train_batch_per_replica": below}
    if not below:
        fix = f"Set train.train_policy.mini_batch to {batch}, which trains the same, or the batch to {above}."
        fix_set = {"train.train_policy.mini_batch": batch}
    return Problem(
        code="batch_not_a_multiple",
        message=f"train.train_batch_per_replica {batch} is not a multiple of "
        f"train.train_policy.mini_batch {mini_batch}.",
        fix=fix,
        path="train.train_batch_per_replica",
        got=batch,
        expected=f"a multiple of {mini_batch}",
        fix_set=fix_set,
    )


def _video_fits_the_context(model: str, max_length: int) -> Problem | None:
    if model.startswith(BUILTIN) or max_length >= VIDEO_MIN_LENGTH:
        return None
    return Problem(
        code="context_too_short_for_video",
        message=f"policy.model_max_length {max_length} is too short for video: vision tokens would be truncated.",
        fix=f"Set policy.model_max_length to {VIDEO_MIN_LENGTH} or more (81920 is typical).",
        path="policy.model_max_length",
        got=max_length,
        expected=f">= {VIDEO_MIN_LENGTH}",
        fix_set={"policy.model_max_length": VIDEO_MIN_LENGTH},
    )


def _training_has_validation(val: Any, test_size: float, enabled: bool) -> Problem | None:
    if val or test_size > 0 or not enabled:
        return None
    return Problem(
        code="missing_validation_data",
        message="Validation is on, but there is no validation data.",
        fix="Give an eval dataset (--eval PATH), or set train.train_policy.dataset.test_size above 0, "
        "or set validation.enable=false.",
        path="custom.val_dataset",
        fix_choices=({"train.train_policy.dataset.test_size": HELD_OUT}, {"validation.enable": False}),
    )


def _warm_up_ends_before_training(warm_up: float, epochs: int, max_steps: int | None) -> Problem | None:
    if warm_up <= epochs or max_steps is not None:  # the steps of an epoch are known where the data is
        return None
    return Problem(
        code="warm_up_too_long",
        message=f"train.optm_warmup_epochs {warm_up} is longer than the training itself ({epochs} epochs).",
        fix=f"Set train.optm_warmup_epochs to {epochs} or less; a tenth of the training is usual.",
        path="train.optm_warmup_epochs",
        got=warm_up,
        expected=f"<= {epochs}",
        fix_set={"train.optm_warmup_epochs": epochs / 10},
    )


def _window_is_ordered(path: str) -> Rule:
    def check(start: float | None, end: float | None) -> Problem | None:
        if end is None or (start or 0) < end:
            return None
        swapped = {f"{path}.video_start": end, f"{path}.video_end": start}
        whole: dict[str, Any] = {f"{path}.video_start": None}
        return Problem(
            code="empty_video_window",
            message=f"{path}.video_start {start} is not before video_end {end}.",
            fix=f"Set {path}.video_start below {end} (without it, the window starts with the clip), or remove both.",
            path=f"{path}.video_start",
            got=start,
            expected=f"< {end}",
            fix_set=whole if start == end else {},
            fix_choices=() if start == end else (swapped, whole),
        )

    return Rule((f"{path}.video_start", f"{path}.video_end"), check)


def _bounds_are_ordered(path: str, low: str, high: str) -> Rule:
    def check(minimum: int | None, maximum: int | None) -> Problem | None:
        if minimum is None or maximum is None or minimum <= maximum:
            return None
        return Problem(
            code="bounds_reversed",
            message=f"{path}.{low} {minimum} is above {high} {maximum}.",
            fix=f"Set {path}.{low} to {maximum} or less.",
            path=f"{path}.{low}",
            got=minimum,
            expected=f"<= {maximum}",
            fix_set={f"{path}.{low}": maximum},
        )

    return Rule((f"{path}.{low}", f"{path}.{high}"), check)


def _vision_rules(path: str) -> tuple[Rule, ...]:
    return (
        _window_is_ordered(path),
        _bounds_are_ordered(path, "min_pixels", "max_pixels"),
        _bounds_are_ordered(path, "min_frames", "max_frames"),
    )


def _adapter_has_a_base(path: str) -> Rule:
    prefix = f"{path}." if path else ""
    enable = f"{prefix}enable_lora"

    def check(enabled: bool, base: str) -> Problem | None:
        if bool(enabled) == bool(base):
            return None
        wrong = enable if base else f"{prefix}base_model_path"
        return Problem(
            code="adapter_without_base" if enabled else "base_without_adapter",
            message=f"{prefix}enable_lora and {prefix}base_model_path must be set together; only one of them is set.",
            fix=f"Set {wrong} too, or remove the other." if enabled else f"Set {wrong}=true, or remove the base.",
            path=wrong,
            got=enabled if base else base,
            expected=True if base else "a model",
            fix_choices=({wrong: True}, {f"{prefix}base_model_path": None}) if base else ({enable: False},),
        )

    return Rule((f"{prefix}enable_lora", f"{prefix}base_model_path"), check)


def _is_dense(path: str) -> Rule:
    """Refuse a mixture of experts by its name, because its config may not be available before the download."""

    def check(name: str | None) -> Problem | None:
        if not MIXTURE.search(name or ""):
            return None
        message = f"{path} {name} is a mixture of experts; this skill runs dense Qwen3-VL models only."
        fix = "Use nvidia/Cosmos-Reason2-2B or -8B, or Qwen/Qwen3-VL-2B, -4B, -8B or -32B (-Instruct or -Thinking)."
        choices = tuple({path: model} for model in DENSE)
        return Problem("model_type", message, fix, path, got=name, expected="a dense model", fix_choices=choices)

    return Rule((path,), check)


def _server_has_a_checkpoint(engine: str, adapter: bool) -> Problem | None:
    if engine != "vllm" or not adapter:
        return None
    return Problem(
        code="adapter_on_server",
        message="The engine vllm needs a complete checkpoint, but model.enable_lora uses an adapter.",
        fix="Merge it (action export) and evaluate the merged checkpoint, or set evaluation.engine=transformers.",
        path="model.enable_lora",
        got=adapter,
        fix_set={"evaluation.engine": "transformers"},
    )


def _server_counts_from_the_start(engine: str, start: float | None) -> Problem | None:
    if engine != "vllm" or not start:
        return None
    return Problem(
        code="start_on_server",
        message="vision.video_start cannot be used with the engine vllm: its timestamps count from the first frame.",
        fix="Remove vision.video_start, or set evaluation.engine=transformers.",
        path="vision.video_start",
        got=start,
        fix_choices=({"evaluation.engine": "transformers"}, {"vision.video_start": None}),
    )


def _server_gives_no_likelihoods(engine: str, scoring: str) -> Problem | None:
    if engine != "vllm" or scoring != "choices":
        return None
    return Problem(
        code="choices_on_server",
        message="evaluation.scoring=choices needs the likelihoods of all choices, which a chat server does not return.",
        fix="Set evaluation.engine=transformers, or evaluation.scoring=generate.",
        path="evaluation.scoring",
        got=scoring,
        expected="generate",
        fix_choices=({"evaluation.engine": "transformers"}, {"evaluation.scoring": "generate"}),
    )


def _choices_need_no_thought(answer_type: str, scoring: str) -> Problem | None:
    if answer_type != "reasoning" or scoring != "choices":
        return None
    return Problem(
        code="choices_after_thought",
        message="evaluation.scoring=choices scores the answer without a thought, so there is no reasoning to read.",
        fix="Set evaluation.answer_type=freeform or letter, or evaluation.scoring=generate.",
        path="evaluation.answer_type",
        got=answer_type,
        expected="freeform or letter",
        fix_choices=(
            {"evaluation.answer_type": "freeform"},
            {"evaluation.answer_type": "letter"},
            {"evaluation.scoring": "generate"},
        ),
    )


def _one_gpu(num_gpus: int) -> Problem | None:
    if num_gpus <= 1:
        return None
    return Problem(
        code="one_gpu",
        message=f"num_gpus {num_gpus}: one answer is generated on one GPU; multi-GPU inference is not supported.",
        fix="Set num_gpus=1. To answer many questions on several GPUs use the action evaluate.",
        path="num_gpus",
        got=num_gpus,
        expected=1,
        fix_set={"num_gpus": 1},
    )


def _room_for_the_question(max_length: int, max_tokens: int) -> Problem | None:
    if max_tokens < max_length:
        return None
    return Problem(
        code="max_length",
        message=f"generation.max_tokens {max_tokens} leaves no tokens for a question in model.max_length {max_length}.",
        fix=f"Raise model.max_length above {max_tokens}, or lower generation.max_tokens; {MAX_LENGTH} is the default.",
        path="model.max_length",
        got=max_length,
        expected=f"> {max_tokens}",
        fix_set={"model.max_length": max(MAX_LENGTH, 2 * max_tokens)},
    )


def _something_is_evaluated(limit: int) -> Problem | None:
    if limit != 0:
        return None
    path = "evaluation.limit"
    fix = f"Set {path}=-1 for all records, or to the number of records that you want."
    return Problem("limit_of_nothing", f"{path} 0 evaluates no record.", fix, path, limit, fix_set={path: -1})


def _shard_exists(shard: int, total: int) -> Problem | None:
    if shard < total:
        return None
    return Problem(
        code="no_such_shard",
        message=f"evaluation.shard_id {shard} is not below evaluation.total_shard {total}.",
        fix=f"Set evaluation.shard_id to 0..{total - 1}, or raise evaluation.total_shard.",
        path="evaluation.shard_id",
        got=shard,
        expected=f"< {total}",
        fix_set={"evaluation.shard_id": total - 1},
    )


def _content_is_of_prompts(kind: str, content: str, turns: str) -> Problem | None:
    """Refuse a choice of what a prompt shows where there is no prompt."""
    path, default = ("embedding.content", "both") if content != "both" else ("embedding.turns", "last")
    value = content if content != "both" else turns
    if kind == "joint" or value == default:
        return None
    return Problem(
        code="content_without_prompt",
        message=f"{path} {value} has no effect: embedding.kind {kind} embeds clips without a prompt.",
        fix=f"Set embedding.kind=joint, or {path}={default}.",
        path=path,
        got=value,
        expected=default,
        fix_choices=({"embedding.kind": "joint"}, {path: default}),
    )


RULES: Mapping[str, tuple[Rule, ...]] = {
    "train": (
        Rule(("train.train_batch_per_replica", "train.train_policy.mini_batch"), _batch_is_a_multiple),
        Rule(("policy.model_name_or_path", "policy.model_max_length"), _video_fits_the_context),
        Rule(
            ("custom.val_dataset", "train.train_policy.dataset.test_size", "validation.enable"),
            _training_has_validation,
        ),
        Rule(("train.optm_warmup_epochs", "train.epoch", "train.max_steps"), _warm_up_ends_before_training),
        *TRAINING_FEATURES,
        _is_dense("policy.model_name_or_path"),
        *_vision_rules("custom.vision"),
        is_plain_text("custom.system_prompt"),
    ),
    "evaluate": (
        _adapter_has_a_base("model"),
        _is_dense("model.model_name"),
        _is_dense("model.base_model_path"),
        Rule(("model.max_length", "generation.max_tokens"), _room_for_the_question),
        Rule(("evaluation.engine", "model.enable_lora"), _server_has_a_checkpoint),
        Rule(("evaluation.engine", "vision.video_start"), _server_counts_from_the_start),
        Rule(("evaluation.engine", "evaluation.scoring"), _server_gives_no_likelihoods),
        Rule(("evaluation.answer_type", "evaluation.scoring"), _choices_need_no_thought),
        Rule(("evaluation.limit",), _something_is_evaluated),
        Rule(("evaluation.shard_id", "evaluation.total_shard"), _shard_exists),
        *_vision_rules("vision"),
        is_plain_text("dataset.system_prompt"),
    ),
    "embed": (
        _adapter_has_a_base("model"),
        _is_dense("model.model_name"),
        _is_dense("model.base_model_path"),
        Rule(("embedding.kind", "embedding.content", "embedding.turns"), _content_is_of_prompts),
        *_vision_rules("vision"),
        is_plain_text("dataset.system_prompt"),
    ),
    "quantize": (
        _adapter_has_a_base("model"),
        _is_dense("model.model_path"),
        _is_dense("model.base_model_path"),
        *_vision_rules("vision"),
        is_plain_text("system_prompt"),
    ),
    "inference": (
        Rule(("num_gpus",), _one_gpu),
        _adapter_has_a_base(""),
        _is_dense("model_path"),
        _is_dense("base_model_path"),
        is_plain_text("prompt"),
        is_plain_text("system_prompt"),
    ),
    "export": (_adapter_has_a_base(""), _is_dense("model_path"), _is_dense("base_model_path")),
}


def require(action: str, config: Any) -> None:
    """Raise RequestError for all broken rules of a spec: a config may be run without a plan."""
    rules.require(RULES[action], asdict(config))
