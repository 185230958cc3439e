"""Inspects a train spec without weights: `python -m tao_skill_bank.models.cosmos_predict.inspect --config F`.

Prints one JSON document. What a transformer is made of is built once and remembered; memory is computed from it.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_predict import ladders, memory
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.geometry import ClipShape
from tao_skill_bank.models.cosmos_predict.memory import Load, Shape
from tao_skill_bank.training import inspection
from tao_skill_bank.weights import model_uri
from tao_skill_bank.weights.model_uri import BUILTIN, HUB

FOLDER = Path(__file__).parent
# A window of 93 frames of 432x768 takes 1.58 s on an H100 (references/performance.md), at 40 % of its peak.
ENCODING_FLOPS_PER_PIXEL = 2e7
CONFIG = "transformer/config.json"
PACKAGED = {
    "nvidia/Cosmos-Predict2.5-2B": FOLDER / "architectures" / "cosmos-predict2.5-2b.json",
    "nvidia/Cosmos-Predict2.5-14B": FOLDER / "architectures" / "cosmos-predict2.5-14b.json",
}


def inspect(config: TrainConfig) -> dict[str, Any]:
    """Return the document that is printed.

    Raises:
        UnknownNameError: the architecture of the model is not available locally.

    """
    architecture = find_architecture(config.model.pretrained_model_name_or_path)

    def build() -> dict[str, Any]:
        from tao_skill_bank.models.cosmos_predict import meta_network

        return meta_network.facts(architecture, config.lora)

    key = json.dumps([architecture, asdict(config.lora)], sort_keys=True)
    facts = inspection.remembered(key, build)
    shape, load, targets = Shape(**facts["shape"]), load_of(config), facts["targets"]
    unmatched = [target for target, count in targets.items() if not count]
    plans = memory.execution_plans(shape, load, allowed_modes(config))
    smallest = min(plans, key=lambda plan: plan.memory_bytes)
    mode = str(smallest.settings["train.gradient_checkpointing"])
    needed = memory.parts(shape, load, mode)
    return {
        "model_type": architecture["_class_name"],
        "parameters": shape.parameters,
        "trainable_parameters": shape.trained,
        "lora": {
            "targets": targets,
            "unmatched": unmatched,
            "vision_modules": 0,
            "language_modules": sum(targets.values()),
        },
        "memory_bytes_per_gpu": {**needed, "total": smallest.memory_bytes},
        "ways": [plan.to_json() for plan in plans],
        "checkpoint_bytes": memory.checkpoint_bytes(shape),
        "work": _work(config, shape, load),
    }


def _work(config: TrainConfig, shape: memory.Shape, load: Load) -> dict[str, float]:
    """Return the FLOPs of a training clip, of a held-out clip per validation, and the epochs between validations.

    Encoding is once per clip. The base is validated first, without the sample videos of the other validations.
    """
    one, validation = replace(load, batch=1), config.validation
    forward = memory.forward_flops(shape, one)
    encoding = 0.0
    if config.dataset.cache_latents and not model_uri.is_embedded(config.model.pretrained_model_name_or_path):
        pixels = load.clip.num_frames * load.clip.height * load.clip.width
        encoding = ENCODING_FLOPS_PER_PIXEL * pixels * config.dataset.windows_per_clip
    return {
        "sample_flops": memory.step_flops(shape, one),
        "validation_flops": forward * validation.num_samples,
        "validation_epochs": validation.freq_in_epoch if validation.enable else 0,
        "first_validations": 1 if validation.enable else 0,
        "encoding_flops": encoding,
        "samples_flops": 2 * forward * validation.sample_steps * validation.sample_videos,
    }


def load_of(config: TrainConfig) -> Load:
    """Return the load of one forward pass of a spec."""
    dataset = config.dataset
    return Load(
        clip=ClipShape(dataset.num_frames, dataset.height, dataset.width),
        batch=config.train.batch_size,
        weight_bytes=2 if config.train.mixed_precision == "bf16" else 4,
        use_dora=config.lora.use_dora,
    )


def allowed_modes(config: TrainConfig) -> tuple[str, ...]:
    """Return the checkpointing modes that a spec leaves to choose from."""
    mode = config.train.gradient_checkpointing
    return tuple(memory.KEPT) if mode == "auto" else (mode,)


def find_architecture(uri: str) -> dict[str, Any]:
    """Return a locally available transformer config: of a folder, a fetched, builtin, cached or packaged pipeline.

    Raises:
        UnknownNameError: there is none.

    """
    name = uri.removeprefix(HUB).partition("@")[0]
    candidates = [Path(uri) / CONFIG, PACKAGED.get(name)]
    if uri.startswith(BUILTIN):
        candidates = [FOLDER / "builtin" / uri.removeprefix(BUILTIN) / CONFIG]
    elif uri.startswith(HUB):
        revision = uri.removeprefix(HUB).partition("@")[2] or None
        candidates[:0] = [model_uri.local_folder(uri) / CONFIG, inspection.cached_file(name, CONFIG, revision)]
    for path in candidates:
        if path is not None and path.is_file():
            return json_reader.read_object(path, "Download the model again.")
    message = f"The architecture of {uri} is not on this machine."
    raise UnknownNameError.of("unknown_architecture", message, "Give a local folder, or download the model first.")


if __name__ == "__main__":
    inspection.main(TrainConfig, inspect, ladders=ladders.of)
