"""Transformer adapters in a format for which diffusers' `pipe.load_lora_weights(folder)` gives the same videos.

diffusers reads alpha and the rest from the header of pytorch_lora_weights.safetensors; without it, alpha defaults to
the rank. DoRA's magnitudes are stored with the matrices.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tao_skill_bank.core import umask
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.weights import adapter_files
from tao_skill_bank.weights.adapter_files import BASE_FILE, DIFFUSERS_WEIGHTS, SETTINGS, Adapter
from tao_skill_bank.weights.safetensors_files import fingerprint

PART = "transformer"


def write(folder: Path, dit: Any, base_folder: Path | None, *, name: str = "default") -> None:
    """Write the adapter `name` of `dit` into `folder`, with the identity of its base.

    Files are written atomically, one after another, the weights last; other files of the folder are kept.

    Args:
        folder: gets pytorch_lora_weights.safetensors, adapter_config.json and base_model.json.
        dit: a CosmosTransformer3DModel with the adapter, weights in any type.
        base_folder: the pipeline that the adapter was trained on; None records no base.
        name: of the adapter in `dit`.

    """
    import copy

    import peft
    from diffusers import Cosmos2_5_PredictBasePipeline

    tensors = peft.get_peft_model_state_dict(dit, adapter_name=name)
    tensors = {
        key.removeprefix("base_model.model."): tensor.detach().cpu().contiguous() for key, tensor in tensors.items()
    }
    config = copy.deepcopy(dit.peft_config[name])
    config.inference_mode = True
    config.base_model_name_or_path = None if base_folder is None else str(base_folder)
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".adapter.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        config.save_pretrained(str(work))
        if base_folder is not None:
            identity = {"path": str(base_folder), "part": PART, "fingerprint": fingerprint(base_folder / PART)}
            (work / BASE_FILE).write_text(json.dumps(identity, indent=2), encoding="utf-8")
        Cosmos2_5_PredictBasePipeline.save_lora_weights(
            str(work), transformer_lora_layers=tensors, transformer_lora_adapter_metadata=_header(config)
        )
        umask.follow(work)
        for file in sorted(work.iterdir(), key=lambda path: path.name == DIFFUSERS_WEIGHTS):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def load(dit: Any, path: Path, name: str, base_folder: Path | None = None) -> Adapter:
    """Load an adapter into `dit` as `name`, activate it, and return its metadata.

    Args:
        dit: a CosmosTransformer3DModel, with or without other adapters.
        path: a folder written by `write`, or a folder or file written by diffusers or peft.
        name: the adapter's name in `dit`.
        base_folder: the pipeline that `dit` comes from; compared with the adapter's record of its base.

    Raises:
        UnknownNameError: there is no such folder or file.
        BlockedError: it is not an adapter, is incomplete, or was trained on another model.

    """
    from safetensors.torch import load_file

    adapter = adapter_files.read(path)
    require_fit(dit, adapter, base_folder)
    tensors = {adapter_files.plain_name(key): tensor for key, tensor in load_file(str(adapter.weights)).items()}
    dit.load_lora_adapter(tensors, prefix=None, adapter_name=name, metadata=_settings(adapter, tensors))
    dit.train(dit.training)  # new layers are created in training mode
    return adapter


def require_fit(dit: Any, adapter: Adapter, base_folder: Path | None) -> None:
    """Check that an adapter was trained on this model, before loading its weights.

    Raises:
        BlockedError: it records another base, has modules that the model lacks, or has other sizes.

    """
    trained_on = adapter_files.identity(adapter.path)
    theirs = trained_on.get("fingerprint")
    ours = fingerprint(base_folder / trained_on.get("part", PART)) if theirs and base_folder is not None else None
    if ours and ours != theirs:
        raise _misfit(adapter, f"it was trained on {trained_on.get('path')}, whose weights differ")
    if not adapter.modules:
        raise _misfit(adapter, "it has no modules")
    layers: dict[str, Any] = dict(dit.named_modules())
    if unknown := [name for name in adapter.modules if name not in layers]:
        raise _misfit(adapter, f"it adapts {_first(unknown)}, which the model does not have")
    for name, module in adapter.modules.items():
        weight: Tensor | None = getattr(getattr(layers[name], "base_layer", layers[name]), "weight", None)
        if weight is None or weight.ndim != 2:
            raise _misfit(adapter, f"it adapts {name}, which is not a linear layer")
        outputs, inputs = weight.shape
        if (module.inputs, module.outputs) != (inputs, outputs):
            sizes = f"its {name} was trained with {module.inputs} inputs and {module.outputs} outputs"
            raise _misfit(adapter, f"{sizes}, but the model's has {inputs} and {outputs}")


def _header(config: Any) -> dict[str, Any]:
    """Return the settings that determine how the weights are used; few, because every peft version must know them."""
    settings = {key: value for key, value in config.to_dict().items() if key in SETTINGS and value not in (None, {})}
    return {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}


def _settings(adapter: Adapter, tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    """Return LoraConfig's arguments; None lets diffusers infer them from the shapes, with alpha = rank."""
    if "r" not in adapter.settings:
        return None
    settings = {**adapter.settings, "use_dora": adapter.has_magnitudes}
    settings.setdefault("target_modules", sorted({key.partition(".lora_")[0] for key in tensors}))
    return settings


def _first(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more modules" if len(names) > 1 else "")


def _misfit(adapter: Adapter, reason: str) -> BlockedError:
    message = f"Adapter {adapter.path} does not fit the model: {reason}."
    fix = "Set model.pretrained_model_name_or_path to the pipeline that it was trained on, or give another adapter."
    return BlockedError.of("adapter_base_mismatch", message, fix, path=str(adapter.path))
