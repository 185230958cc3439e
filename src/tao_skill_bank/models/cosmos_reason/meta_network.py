"""The network that a train spec trains, built on the meta device from its config only, and what is known of it then."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason import architectures, model, named_parts
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.prepare import freeze, frozen_tower
from tao_skill_bank.models.cosmos_reason.sizes import shape_of
from tao_skill_bank.training import adapters

STACK = ("hidden_size", "intermediate_size")
TEXT = (*STACK, "num_hidden_layers", "num_key_value_heads", "head_dim", "vocab_size")
VISION = (*STACK, "out_hidden_size", "deepstack_visual_indexes")


def facts(config: TrainConfig) -> dict[str, Any]:
    """Return the fields of network_facts.NetworkFacts as JSON. Raises as `skeleton`."""
    network, model_type, lora = skeleton(config)
    packs = bool(config.policy.lora and config.policy.lora.load_in_4bit)
    return {
        "model_type": model_type,
        "shape": asdict(shape_of(network, packs=packs)),
        "lora": lora,
        "problems": [problem.to_json() for problem in named_parts.find(config, network)],
        "notes": _notes(config, network),
        "tower_is_frozen": frozen_tower(network) is not None,
    }


def whole(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an architecture, and of its stacks what the memory of answering depends on."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    architecture = Qwen3VLConfig(**found)
    with torch.device("meta"):
        build: Any = Qwen3VLForConditionalGeneration
        network = build(architecture)
    return {
        "model_type": architecture.model_type,
        "parameters": model.count(network.parameters()),
        "vision_parameters": model.count(network.model.visual.parameters()),
        "text": {name: getattr(architecture.text_config, name) for name in TEXT},
        "vision": {name: getattr(architecture.vision_config, name) for name in VISION},
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
