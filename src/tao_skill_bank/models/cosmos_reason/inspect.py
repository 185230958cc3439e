"""What a train spec would build, without weights: `python -m tao_skill_bank.models.cosmos_reason.inspect --config F`.

Prints one JSON document. The model is built on the meta device from its config alone.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank import model_uri
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.model_uri import BUILTIN, HUB
from tao_skill_bank.models.cosmos_reason import memory, model
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.prepare import allowed_shares, freeze, setup_of
from tao_skill_bank.models.cosmos_reason.sizes import shape_of
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL
from tao_skill_bank.training import adapters, inspection

FOLDER = Path(__file__).parent
TEXT_TOKENS, LABELS = 512, 512  # of a prompt and its answer, and of the answer alone
PACKAGED = {"nvidia/Cosmos-Reason2-8B": FOLDER / "architectures" / "cosmos-reason2-8b.json"}


def inspect(config: TrainConfig) -> dict[str, Any]:
    """Return the document that is printed.

    Raises:
        UnknownNameError: the architecture of the model is not at hand.

    """
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    architecture = Qwen3VLConfig(**find_architecture(config.policy.model_name_or_path))
    with torch.device("meta"):
        network: Any = Qwen3VLForConditionalGeneration(architecture)
        linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
        lora = None
        if config.policy.lora:
            lora = _matches(config.policy.lora.target_modules, linear)
            if lora["vision_modules"] + lora["language_modules"]:
                options = model.lora_options(config.policy.lora, on_meta=True)
                network = adapters.add(network, options, config.policy.model_name_or_path)
        freeze(network, config.policy.frozen_parts)
    shape, setup, load = shape_of(network), setup_of(config, features_cached=False), _load(config)
    ways = memory.ways(shape, setup, load, allowed_shares(config))
    smallest = min(ways, key=lambda way: way.memory_bytes)
    recompute = float(smallest.settings["policy.model_gradient_checkpointing"])
    samples = int(smallest.settings["train.train_policy.mini_batch"])
    return {
        "model_type": architecture.model_type,
        "parameters": shape.parameters,
        "trainable_parameters": shape.trained,
        "lora": lora,
        "memory_bytes_per_gpu": memory.parts(shape, setup, replace(load, samples=samples), recompute),
        "ways": [way.to_json() for way in ways],
        "checkpoint_bytes": memory.checkpoint_bytes(shape, setup),
    }


def _load(config: TrainConfig) -> Load:
    """Return the largest micro-batch that the spec allows, as long as nothing is known of its data."""
    sizes = QWEN3_VL
    vision = config.custom.vision.total_pixels // (sizes.factor**2 * sizes.temporal_patch_size)
    tokens = min(config.policy.model_max_length, vision + TEXT_TOKENS)
    train = config.train
    patches = vision * sizes.merge_size**2
    return Load(tokens, patches, LABELS, train.train_policy.mini_batch, train.train_batch_per_replica)


def find_architecture(uri: str) -> dict[str, Any]:
    """Return the config.json of a model that is at hand: a folder, made or fetched, builtin, cached, or packaged.

    Raises:
        UnknownNameError: it is none of these.

    """
    name = uri.removeprefix(HUB).partition("@")[0]
    candidates = [Path(uri) / "config.json", PACKAGED.get(name)]
    if uri.startswith(BUILTIN):
        candidates = [FOLDER / "builtin" / uri.removeprefix(BUILTIN) / "config.json"]
    elif "/" in name and not Path(uri).is_absolute():
        materialised = model_uri.local_folder(model_uri.normalise(uri)) / "config.json"
        candidates[:0] = [materialised, inspection.cached_file(name, "config.json")]
    for path in candidates:
        if path is not None and path.is_file():
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if document.get("model_type") != model.MODEL_TYPE:
                message = f"{path} describes a {document.get('model_type')} model, not {model.MODEL_TYPE}."
                raise UnknownNameError.of("model_type", message, "Give a Qwen3-VL checkpoint.")
            return document
    message = f"The architecture of {uri} is not on this machine."
    raise UnknownNameError.of("unknown_architecture", message, "Give a local folder, or download the model first.")


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
    inspection.main(TrainConfig, inspect)
