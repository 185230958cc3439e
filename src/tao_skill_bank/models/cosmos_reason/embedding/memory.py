"""Predicts the GPU memory and the arithmetic of embeddings, counted from the architecture."""

from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_reason import generation_memory
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.embedding import tower_adapters
from tao_skill_bank.models.cosmos_reason.generation_memory import BYTES, FLOAT32, PATCH_VALUES, PATCHES_PER_TOKEN

ON_GPU = "bfloat16"  # the automatic type there
FLOPS_PER_WEIGHT = 2


def inspect(config: EmbedConfig) -> dict[str, Any]:
    """Return the memory per GPU and the FLOPs per token.

    Raises:
        UnknownNameError, BlockedError: see `architectures.find`.

    """
    chosen, is_joint = config.model, config.embedding.kind == "joint"
    found = generation_memory.read(chosen.base_model_path if chosen.enable_lora else chosen.model_name)
    width = BYTES[ON_GPU if chosen.dtype == "auto" else chosen.dtype]
    merges = chosen.enable_lora and (is_joint or tower_adapters.is_changed_by(Path(chosen.model_name)))
    is_whole = is_joint or merges
    longest = config.vision.total_pixels // generation_memory.PIXELS_PER_TOKEN
    tokens = max(longest, config.embedding.batch_tokens)
    parts = {
        "weights": (found.parameters if is_whole else found.vision_parameters) * width,
        "adapter": generation_memory.size_of(chosen.model_name) if merges else 0,
        "activations": _activations(found.architecture, tokens, width, is_joint=is_joint),
    }
    of_tower = FLOPS_PER_WEIGHT * PATCHES_PER_TOKEN * found.vision_parameters
    of_text = FLOPS_PER_WEIGHT * (found.parameters - found.vision_parameters)
    shows_media = not is_joint or config.embedding.content != "question"
    return {
        "model_type": found.architecture.model_type,
        "parameters": found.parameters if is_joint else found.vision_parameters,
        "flops_per_token": of_tower * shows_media + of_text * is_joint,
        "memory_bytes_per_gpu": {**parts, "total": sum(parts.values())},
        "cure": "Lower embedding.batch_tokens, then vision.total_pixels.",
    }


def _activations(architecture: Any, tokens: int, width: int, *, is_joint: bool) -> int:
    """Return the peak of the forward pass over so many tokens, all of them of vision."""
    text, vision = architecture.text_config, architecture.vision_config
    patches = tokens * PATCHES_PER_TOKEN
    tower = patches * _layer(vision) * width
    levels = 1 + len(vision.deepstack_visual_indexes) * is_joint
    features = tokens * levels * vision.out_hidden_size * width
    pixels = patches * PATCH_VALUES * (FLOAT32 + width)
    language = tokens * _layer(text) * width if is_joint else 0
    return int(pixels + features + max(tower, language))


def _layer(stack: Any) -> int:
    live_hidden, live_intermediate = generation_memory.LIVE_HIDDEN, generation_memory.LIVE_INTERMEDIATE
    return int(live_hidden * stack.hidden_size + live_intermediate * stack.intermediate_size)
