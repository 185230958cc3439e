"""Loads a Qwen3-VL checkpoint and writes it back."""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from tao_skill_bank.core import json_reader, umask
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.config.train import Policy
from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.staging import fetch
from tao_skill_bank.training import adapters
from tao_skill_bank.training.distributed import Ranks

BLOCK_CLASSES = ("Qwen3VLTextDecoderLayer", "Qwen3VLVisionBlock")
PART_MODULES = {  # linear layers of each part of optimizer.part_of, as peft name patterns
    "llm": r"(?!.*visual\.).*",
    "vision": r".*visual\.(?!.*merger).*",
    "projector": r".*visual\..*merger.*",
}
WEIGHT_ENDINGS = (".safetensors", ".bin", ".index.json", ".gguf", ".pt", ".pth", ".msgpack", ".h5")


def find_checkpoint(uri: str, ranks: Ranks) -> Path:
    """Return the local folder of a checkpoint: a path unchanged, anything else fetched once by rank 0.

    Raises:
        UnknownNameError: the folder has no config.json.
        BlockedError: it is not a dense Qwen3-VL, or it cannot be downloaded.

    """
    folder = fetch.for_all_ranks(uri, ranks)
    config = folder / "config.json"
    if not config.is_file():
        fix = "Give a checkpoint folder; an adapter folder needs enable_lora and base_model_path."
        raise UnknownNameError.of("no_checkpoint", f"{folder} has no config.json.", fix)
    architectures.require_dense(
        json_reader.read_object(config, "Download the checkpoint again.").get("model_type"), str(config)
    )
    return folder


def load(folder: Path, dtype: torch.dtype | str, device: torch.device, quantization: Any = None) -> Any:
    """Return the transformers model with its weights as `dtype` ("auto" keeps the checkpoint's) on `device`.

    `quantization` is transformers' quantization config for packing weights while loading.

    Every rank reads the whole checkpoint directly to its device, which holds it only until it is sharded.

    Raises:
        BlockedError: the weights are missing or do not fit the config, or they are quantized and the extra is missing.

    """
    from transformers import Qwen3VLForConditionalGeneration

    if scheme.is_quantized(folder):
        scheme.require_library()
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    if quantization is not None:
        options["quantization_config"] = quantization
    try:
        return Qwen3VLForConditionalGeneration.from_pretrained(str(folder), dtype=dtype, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        message = f"The weights in {folder} cannot be loaded: {str(error).splitlines()[0]}"
        raise BlockedError.of("weights_unreadable", message, "Download the checkpoint again.") from None


def load_merged(model: str, *, base: str | None, dtype: torch.dtype | str, ranks: Ranks) -> tuple[Any, Path]:
    """Return the model and the folder of its processor; with `base`, `model` is an adapter to merge.

    Raises:
        BlockedError: the checkpoint is unusable, or the adapter belongs to another base model.

    """
    folder = find_checkpoint(base or model, ranks)
    loaded = load(folder, dtype, ranks.device)
    if base:
        loaded = adapters.merge(loaded, Path(model), folder)
    return loaded.eval(), folder


def lora_fix(policy: Policy) -> str:
    """Return what a user changes where the spec's LoRA block fits no layer of the model."""
    if policy.frozen_parts:
        return "Remove policy.frozen_parts, or choose policy.lora.target_modules outside of them."
    return "Choose policy.lora.target_modules among the model's linear layers."


def lora_options(policy: Policy, *, on_meta: bool = False) -> dict[str, Any]:
    """Return the spec's LoRA block as keyword arguments of peft.LoraConfig; frozen parts get no adapters."""
    assert policy.lora is not None
    options = asdict(policy.lora)
    options.pop("load_in_4bit")
    if frozen := [PART_MODULES[part] for part in policy.frozen_parts if part in PART_MODULES]:
        options["exclude_modules"] = "|".join(frozen)
    options["rank_pattern"] = options.pop("r_pattern")
    options["modules_to_save"] = options["modules_to_save"] or None
    if on_meta:
        options["init_lora_weights"] = True  # decompositions need real weights
    return options


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the decoder layers and vision blocks, which are sharded and compiled one by one."""
    return [module for module in model.modules() if type(module).__name__ in BLOCK_CLASSES]


def full_state(model: nn.Module, *, trained_only: bool) -> dict[str, torch.Tensor]:
    """Gather the weights on rank 0's host memory; other ranks get an empty dict. Every rank calls this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=trained_only)
    state: dict[str, Any] = get_model_state_dict(model, options=options)
    return state


def write_full(folder: Path, base: Path, state: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    """Write gathered weights as a checkpoint folder that transformers and vLLM load, with the processor's files."""
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration

    with torch.device("meta"):
        skeleton = Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(str(base), trust_remote_code=False))
    skeleton.config.dtype = dtype
    weights = {name: tensor.to(dtype) for name, tensor in state.items()}
    skeleton.save_pretrained(str(folder), state_dict=weights)
    umask.follow(folder)
    copy_processor(base, folder)


def copy_processor(base: Path, folder: Path) -> None:
    """Copy every small file of the base checkpoint that `folder` lacks: tokenizer, chat template, processor."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        skipped = path.name.startswith(".") or path.name.endswith(WEIGHT_ENDINGS) or path.name == "config.json"
        if path.is_file() and not skipped and not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of weights; packed weights are two per byte."""
    return sum(parameter.numel() * (1 if parameter.is_floating_point() else 2) for parameter in parameters)
