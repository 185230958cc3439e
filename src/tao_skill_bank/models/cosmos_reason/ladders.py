"""What makes an action of this skill need less memory, the smallest change first; see `training/fitting`."""

from collections.abc import Callable, Mapping
from typing import Any

from tao_skill_bank.core import nested
from tao_skill_bank.training.fitting import Ladders, Overrides, halved

FEWEST_PIXELS = 8 * 224 * 224  # of a clip: eight small frames
FEWEST_TOKENS = 16  # of an answer
FEWEST_BATCH_TOKENS = 1024  # of a forward pass of embeddings
Spec = Mapping[str, Any]


def of(action: str, spec: Spec) -> Ladders:
    """Return the ladders of an action's spec."""
    return [ladder for ladder in ACTIONS[action](spec) if ladder] if action in ACTIONS else []


def _train(spec: Spec) -> Ladders:
    is_full, checkpointing = nested.get(spec, "policy.lora") is None, "policy.model_gradient_checkpointing"
    is_one_shard = nested.get(spec, "policy.parallelism.dp_shard_size", 1) == 1
    return [
        [{checkpointing: "auto"}] if nested.get(spec, checkpointing, "auto") != "auto" else [],
        _set(spec, "train.master_dtype", "bfloat16") if is_full else [],
        [{"policy.lora": {"r": 16, "lora_alpha": 16}}] if is_full else [],
        [] if is_full or not is_one_shard else _set(spec, "policy.lora.load_in_4bit", True),
        _set(spec, "train.fsdp_offload", True),
    ]


def _evaluate(spec: Spec) -> Ladders:
    batches: list[Overrides] = [
        {"evaluation.batch_size": size} for size in halved(nested.get(spec, "evaluation.batch_size", 1), 1)
    ]
    one = batches[-1] if batches else {}
    return [
        _set(spec, "model.dtype", "bfloat16"),
        batches,
        [one | fewer for fewer in _halved(spec, "vision.total_pixels", FEWEST_PIXELS)],
        [one | fewer for fewer in _halved(spec, "generation.max_tokens", FEWEST_TOKENS)],
    ]


def _inference(spec: Spec) -> Ladders:
    return [
        _set(spec, "torch_dtype", "bfloat16"),
        _halved(spec, "total_pixels", FEWEST_PIXELS),
        _halved(spec, "max_new_tokens", FEWEST_TOKENS),
    ]


def _embed(spec: Spec) -> Ladders:
    return [
        _set(spec, "model.dtype", "bfloat16"),
        _halved(spec, "embedding.batch_tokens", FEWEST_BATCH_TOKENS),
        _halved(spec, "vision.total_pixels", FEWEST_PIXELS),
    ]


def _quantize(spec: Spec) -> Ladders:
    return [
        _set(spec, "quantize.skip_test_generation", True),
        _halved(spec, "quantize.max_new_tokens", FEWEST_TOKENS),
        _halved(spec, "vision.total_pixels", FEWEST_PIXELS),
    ]


def _set(spec: Spec, path: str, value: Any) -> list[Overrides]:
    """Return a ladder of one rung; none where the spec has the value already."""
    return [] if nested.get(spec, path) == value else [{path: value}]


def _halved(spec: Spec, path: str, least: int) -> list[Overrides]:
    return [{path: value} for value in halved(nested.get(spec, path, 0), least)]


ACTIONS: Mapping[str, Callable[[Spec], Ladders]] = {
    "train": _train,
    "evaluate": _evaluate,
    "embed": _embed,
    "inference": _inference,
    "quantize": _quantize,
}
