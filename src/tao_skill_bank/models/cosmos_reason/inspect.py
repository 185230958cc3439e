"""Inspects a train spec without weights: `python -m tao_skill_bank.models.cosmos_reason.inspect --config F`.

Prints one JSON document. What a network is made of is remembered (network_facts); memory is computed from it.
"""

from dataclasses import replace
from typing import Any

from tao_skill_bank.models.cosmos_reason import generation_memory, ladders, memory, network_facts
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig, TrainConfig
from tao_skill_bank.models.cosmos_reason.embedding import memory as embedding_memory
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.network_facts import NetworkFacts
from tao_skill_bank.models.cosmos_reason.quantization import memory as quantization_memory
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL
from tao_skill_bank.models.cosmos_reason.training_setup import (
    FREE_BYTES,
    allowed_shares,
    setup_of,
    wants_feature_cache,
)
from tao_skill_bank.training import inspection

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
    facts = network_facts.of(config)
    shape, setup, load = facts.shape, setup_of(config, features_cached=False), _load(config, tokens)
    plans = memory.execution_plans(shape, setup, load, allowed_shares(config))
    smallest = min(plans, key=lambda plan: plan.memory_bytes)
    recompute = float(smallest.settings["policy.model_gradient_checkpointing"])
    samples = int(smallest.settings["train.train_policy.mini_batch"])
    return {
        "model_type": facts.model_type,
        "parameters": shape.parameters,
        "trainable_parameters": shape.trained,
        "lora": facts.lora,
        "problems": facts.problems,
        "notes": facts.notes,
        "memory_bytes_per_gpu": memory.parts(shape, setup, replace(load, samples=samples), recompute),
        "ways": [plan.to_json() for plan in plans],
        "cure": _fix(config),
        "checkpoint_bytes": memory.checkpoint_bytes(shape, setup),
        "kept_features": _feature_cache(config, facts),
        "work": _work(config, shape, load),
    }


def _work(config: TrainConfig, shape: memory.Shape, load: Load) -> dict[str, float]:
    """Return the FLOPs of the longest training record, of such a held-out one, and the epochs between validations.

    Forward costs 2 per weight and token, and 4 tokens^2 width per decoder layer for attention, of which causality
    saves half; backward costs as much again for the inputs' gradients (attention twice), and 2 per trained weight.
    """
    attention = 2 * load.tokens**2 * shape.text.hidden * shape.text.blocks
    forward = 2 * shape.parameters * load.tokens + attention
    return {
        "sample_flops": 2 * (2 * shape.parameters + shape.trained) * load.tokens + 3 * attention,
        "validation_flops": forward,
        "validation_epochs": config.validation.freq_in_epoch if config.validation.enable else 0,
    }


def _feature_cache(config: TrainConfig, facts: NetworkFacts) -> dict[str, Any] | None:
    """Return the disk space of a vision token's features; None without a feature cache."""
    if not (wants_feature_cache(config) and facts.tower_is_frozen):
        return None
    return {
        "bytes_per_token": facts.shape.levels * facts.shape.text.hidden * memory.BYTES[config.train.param_dtype],
        "required": config.train.train_policy.vision_feature_cache == "on",
        "spare_bytes": FREE_BYTES,
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


if __name__ == "__main__":
    embedding = {"embed": (EmbedConfig, embedding_memory.inspect)}
    others = generation_memory.ACTIONS | quantization_memory.ACTIONS | embedding
    inspection.main(TrainConfig, inspect, others, ladders.of)
