"""Inspects a train spec without weights: `python -m tao_skill_bank.models.cosmos_reason.inspect --config F`.

Prints one JSON document. The model is built on the meta device from its config only.
"""

from dataclasses import replace
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason import (
    architectures,
    feature_cache,
    generation_memory,
    memory,
    model,
    named_parts,
)
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.prepare import allowed_shares, freeze, frozen_tower, setup_of
from tao_skill_bank.models.cosmos_reason.quantization import memory as quantization_memory
from tao_skill_bank.models.cosmos_reason.sizes import shape_of
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL
from tao_skill_bank.training import adapters, inspection

TEXT_TOKENS, LABELS = 512, 512  # of a prompt and its answer, and of the answer alone


def inspect(config: TrainConfig, tokens: int | None = None) -> dict[str, Any]:
    """Return the document that is printed.

    Args:
        config: of the training.
        tokens: of the longest known record; if None, the maximum of the pixel budget is used.

    Raises:
        UnknownNameError: the architecture of the model is not available locally.
        BlockedError: it is not a dense Qwen3-VL.

    """
    network, model_type, lora = skeleton(config)
    packs = bool(config.policy.lora and config.policy.lora.load_in_4bit)
    shape, setup, load = shape_of(network, packs=packs), setup_of(config, features_cached=False), _load(config, tokens)
    plans = memory.execution_plans(shape, setup, load, allowed_shares(config))
    smallest = min(plans, key=lambda plan: plan.memory_bytes)
    recompute = float(smallest.settings["policy.model_gradient_checkpointing"])
    samples = int(smallest.settings["train.train_policy.mini_batch"])
    return {
        "model_type": model_type,
        "parameters": shape.parameters,
        "trainable_parameters": shape.trained,
        "lora": lora,
        "problems": [problem.to_json() for problem in named_parts.find(config, network)],
        "notes": _notes(config, network),
        "memory_bytes_per_gpu": memory.parts(shape, setup, replace(load, samples=samples), recompute),
        "ways": [plan.to_json() for plan in plans],
        "cure": _fix(config),
        "checkpoint_bytes": memory.checkpoint_bytes(shape, setup),
        "kept_features": _feature_cache(config, network, shape),
    }


def skeleton(config: TrainConfig) -> tuple[Any, str, dict[str, Any] | None]:
    """Return the model to be trained on the meta device, its type, and the matches of its adapters.

    Raises:
        UnknownNameError: the architecture of the model is not available locally.
        BlockedError: it is not a dense Qwen3-VL.

    """
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    architecture = Qwen3VLConfig(**architectures.find(config.policy.model_name_or_path))
    with torch.device("meta"):
        network: Any = Qwen3VLForConditionalGeneration(architecture)
        linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
        lora = None
        if config.policy.lora:
            lora = _matches(config.policy.lora.target_modules, linear)
            if lora["vision_modules"] + lora["language_modules"]:
                options = model.lora_options(config.policy, on_meta=True)
                fix = model.lora_fix(config.policy)
                network = adapters.add(network, options, config.policy.model_name_or_path, fix)
        freeze(network, config.policy.frozen_parts)
    return network, str(architecture.model_type), lora


def _notes(config: TrainConfig, network: Any) -> list[dict[str, str]]:
    """Return what a spec also freezes: a head that is the token embeddings."""
    frozen = config.policy.frozen_parts
    if config.policy.lora or named_parts.has_head(network) or "llm" not in frozen:
        return []
    message = f"lm_head is frozen with llm: {named_parts.TIED}."
    return [{"code": "head_is_tied", "message": message, "path": named_parts.FROZEN}]


def _feature_cache(config: TrainConfig, network: Any, shape: memory.Shape) -> dict[str, Any] | None:
    """Return the disk space of a vision token's features; None without a feature cache."""
    if not feature_cache.is_wanted(config) or frozen_tower(network) is None:
        return None
    return {
        "bytes_per_token": shape.levels * shape.text.hidden * memory.BYTES[config.train.param_dtype],
        "required": config.train.train_policy.vision_feature_cache == "on",
        "spare_bytes": feature_cache.FREE_BYTES,
        "cure": "Set train.train_policy.vision_feature_cache=off, or $TAO_STATE_DIR to a folder of a larger disk.",
    }


def _load(config: TrainConfig, known_tokens: int | None) -> Load:
    """Return the largest micro-batch of the spec: of the longest known record, else of the pixel budget."""
    train, sizes = config.train, QWEN3_VL
    vision = config.custom.vision.total_pixels // (sizes.factor**2 * sizes.temporal_patch_size)
    tokens = min(config.policy.model_max_length, known_tokens or vision + TEXT_TOKENS)
    patches = min(vision, tokens) * sizes.merge_size**2
    return Load(tokens, patches, LABELS, train.train_policy.mini_batch, train.train_batch_per_replica)


def _fix(config: TrainConfig) -> str:
    """Return the fix for a training that does not fit, cheapest first."""
    train, policy = config.train, config.policy
    shards = policy.parallelism.dp_shard_size
    full = [] if policy.lora else ["train.master_dtype=bfloat16"] * (train.master_dtype == "float32")
    full += [] if policy.lora else ["LoRA (policy.lora.r=16)"]
    packed = ["policy.lora.load_in_4bit=true"] if policy.lora and shards == 1 else []
    offload = [] if train.fsdp_offload else ["train.fsdp_offload=true"]
    remedies = [*full, f"policy.parallelism.dp_shard_size={2 * shards}", *packed, *offload]
    return f"Set one of: {', '.join(remedies)}; or lower custom.vision.total_pixels."


def _matches(targets: list[Any], linear: list[str]) -> dict[str, Any]:
    """Return how many linear layers each target name matches; peft matches a whole dotted suffix."""
    body = [name for name in linear if name != "lm_head"]
    found: dict[str, list[str]] = {
        target: body if target == "all-linear" else [name for name in body if name.endswith(f".{target}")]
        for target in targets
    }
    matched = {name for names in found.values() for name in names}
    vision = sum(".visual." in f".{name}" for name in matched)
    return {
        "targets": {target: len(names) for target, names in found.items()},
        "unmatched": [target for target, names in found.items() if not names],
        "vision_modules": vision,
        "language_modules": len(matched) - vision,
    }


if __name__ == "__main__":
    inspection.main(TrainConfig, inspect, generation_memory.ACTIONS | quantization_memory.ACTIONS)
