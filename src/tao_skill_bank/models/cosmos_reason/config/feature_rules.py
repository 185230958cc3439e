"""Compatibility rules of early stopping, FP8, 4-bit weights and frozen parts."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tao_skill_bank.bank import step_limit
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.core import safe_pattern
from tao_skill_bank.errors import Problem
from tao_skill_bank.models.cosmos_reason.facts import FACTS

FP8 = "train.fp8.enable_fp8"
RECIPE, DEFAULT_RECIPE = "train.fp8.quant_recipe", "rowwise"
FOUR_BIT = "policy.lora.load_in_4bit"
FEATURES = "train.train_policy.vision_feature_cache"
FROZEN = "policy.frozen_parts"
LAYER_PATTERN = r"layers\.1\.self_attn\.q_proj"
VISION_TARGETS = ("attn.qkv", "attn.proj")
VISION_PARTS = {"vision", "projector"}
PARTS = {"llm", "lm_head", *VISION_PARTS}


def _scaling_is_dynamic(recipe: str | None) -> Problem | None:
    if recipe != "delayed_scaling":
        return None
    message = "Delayed scaling was removed from torchao, which computes FP8: scales come from the current values."
    fix = "Set train.fp8.fp8_recipe=dynamic_scaling."
    path, scaling = "train.fp8.fp8_recipe", "dynamic_scaling"
    return Problem("fp8_recipe", message, fix, path, recipe, scaling, {path: scaling})


def _recipe_is_used(enabled: bool | None, recipe: str | None) -> Problem | None:
    """Refuse an FP8 recipe without FP8: one of the two is a mistake."""
    if enabled or recipe in (DEFAULT_RECIPE, None):
        return None
    message = f"{RECIPE} {recipe} has no effect: {FP8} is false."
    fix = f"Set {FP8}=true, or {RECIPE}={DEFAULT_RECIPE}."
    choices = ({FP8: True}, {RECIPE: DEFAULT_RECIPE})
    return Problem("fp8_recipe_unused", message, fix, RECIPE, recipe, DEFAULT_RECIPE, fix_choices=choices)


def _fp8_has_bfloat16(enabled: bool, dtype: str) -> Problem | None:
    if not enabled or dtype == "bfloat16":
        return None
    message = f"FP8 matrix products return bfloat16, but train.param_dtype is {dtype}."
    fix = f"Set train.param_dtype=bfloat16, or {FP8}=false."
    choices = ({"train.param_dtype": "bfloat16"}, {FP8: False})
    return Problem("fp8_dtype", message, fix, "train.param_dtype", dtype, "bfloat16", fix_choices=choices)


def _four_bit_excludes(path: str, wanted: Sequence[Any], why: str, fix: str) -> Rule:
    """Refuse 4-bit weights together with a value of `path` other than those wanted."""

    def check(enabled: bool | None, value: Any) -> Problem | None:
        if not enabled or value in wanted:
            return None
        message = f"{FOUR_BIT} and {path} {value} exclude each other: {why}."
        fixes, choices = f"{fix}, or set {FOUR_BIT}=false.", ({path: wanted[0]}, {FOUR_BIT: False})
        return Problem("four_bit_excludes", message, fixes, path, value, wanted[0], fix_choices=choices)

    return Rule((FOUR_BIT, path), check)


def _adapters_are_trained(
    targets: list[str] | None, saved: list[str] | None, frozen: list[str] | None
) -> Problem | None:
    """Refuse adapters that are all in frozen parts: the trainer skips them, and nothing would be trained."""
    if not targets or not frozen or "all-linear" in targets:
        return None
    parts = {"vision" if target in VISION_TARGETS else "llm" for target in targets}
    if saved:
        parts |= {"vision", "projector"}
    if not parts <= set(frozen):
        return None
    message = f"policy.frozen_parts {frozen} freezes every part that policy.lora trains ({', '.join(sorted(parts))})."
    fix = "Remove policy.frozen_parts (with adapters, the base model is frozen anyway), or set other target_modules."
    return Problem("nothing_to_train", message, fix, FROZEN, frozen, fix_set={FROZEN: []})


def _something_is_trained(lora: Any, frozen: list[str] | None) -> Problem | None:
    if lora or not frozen or set(frozen) < PARTS:
        return None
    message = f"policy.frozen_parts {frozen} leaves nothing to train."
    fix = "Remove a part from it: without llm and lm_head, the language model is trained; without any, everything."
    nothing: list[str] = []
    choices = ({FROZEN: [part for part in frozen if part in VISION_PARTS]}, {FROZEN: nothing})
    return Problem("nothing_to_train", message, fix, FROZEN, frozen, fix_choices=choices)


def _features_are_of_a_frozen_tower(wanted: str, lora: Any, frozen: list[str] | None) -> Problem | None:
    """Refuse to cache features of a vision tower whose weights or adapters are trained."""
    targets = set(lora.get("target_modules", ())) if lora else set()
    trains = not lora or bool(lora.get("modules_to_save") or targets & {*VISION_TARGETS, "all-linear"})
    if wanted != "on" or not trains or set(frozen or []) >= VISION_PARTS:
        return None
    message = "Features of the vision tower cannot be cached: it is trained, so they change with every step."
    fix = f"Set {FEATURES}=off, or policy.frozen_parts=[vision,projector]."
    choices = ({FEATURES: "off"}, {FROZEN: sorted({*(frozen or []), *VISION_PARTS})})
    return Problem("trained_tower", message, fix, FEATURES, wanted, "off or auto", fix_choices=choices)


def _usable(patterns: Mapping[str, int] | None) -> dict[str, int]:
    """Return the patterns that can be used."""
    usable = {}
    for pattern, value in (patterns or {}).items():
        with suppress(ValueError):
            safe_pattern.compile_name_pattern(pattern)
            usable[pattern] = value
    return usable


def _patterns_are_expressions(path: str) -> Rule:
    def check(patterns: dict[str, int] | None) -> Problem | None:
        for pattern in patterns or {}:
            try:
                safe_pattern.compile_name_pattern(pattern)
            except ValueError as error:
                message = f"{path} '{pattern}' cannot be used: {error}."
                fix = f"Correct it, such as {LAYER_PATTERN}: it is matched with the end of a layer's name."
                return Problem("invalid_pattern", message, fix, path, pattern, fix_set={path: _usable(patterns)})
        return None

    return Rule((path,), check)


TRAINING_FEATURES: tuple[Rule, ...] = (
    FACTS.early_stop.rule,
    step_limit.rule(FACTS.max_steps, FACTS.early_stop.stop),
    Rule(("train.fp8.fp8_recipe",), _scaling_is_dynamic),
    Rule((FP8, RECIPE), _recipe_is_used),
    Rule((FP8, "train.param_dtype"), _fp8_has_bfloat16),
    _four_bit_excludes(
        "policy.parallelism.dp_shard_size",
        (1, None),
        "packed weights cannot be sharded",
        "Set policy.parallelism.dp_shard_size=1 and use dp_replicate_size for more GPUs",
    ),
    _four_bit_excludes(
        "train.fsdp_offload", (False, None), "packed weights stay on the GPU", "Set train.fsdp_offload=false"
    ),
    _four_bit_excludes(FP8, (False, None), "the frozen weights are already in 4 bits", f"Set {FP8}=false"),
    _four_bit_excludes(
        "policy.lora.modules_to_save",
        ([], None),
        "modules that are trained in full are sharded",
        "Set policy.lora.modules_to_save=[] (attn.qkv and attn.proj in target_modules train the vision tower)",
    ),
    _four_bit_excludes(
        "policy.lora.init_lora_weights",
        (True, False, "gaussian", "eva", None),
        "it would change weights that are packed",
        "Set policy.lora.init_lora_weights=true",
    ),
    _patterns_are_expressions("policy.lora.r_pattern"),
    _patterns_are_expressions("policy.lora.alpha_pattern"),
    Rule(("policy.lora", "policy.frozen_parts"), _something_is_trained),
    Rule((FEATURES, "policy.lora", "policy.frozen_parts"), _features_are_of_a_frozen_tower),
    Rule(("policy.lora.target_modules", "policy.lora.modules_to_save", "policy.frozen_parts"), _adapters_are_trained),
)
