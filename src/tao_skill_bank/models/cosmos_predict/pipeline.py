"""Loads the parts of a Cosmos-Predict 2.5 pipeline from a folder in diffusers' layout, each separately.

The pipeline object itself is never built: a training step needs only the transformer, and a 7B text encoder should be
freed from the GPU before the transformer is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.staging import fetch
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.weights.model_folders import weight_map

INDEX = "model_index.json"
CLASSES = {
    "transformer": "CosmosTransformer3DModel",
    "vae": "AutoencoderKLWan",
    "text_encoder": "Qwen2_5_VLForConditionalGeneration",
    "scheduler": "UniPCMultistepScheduler",
}
LAYOUT_FIX = "Give a pipeline folder in diffusers' layout, such as hf_model://nvidia/Cosmos-Predict2.5-2B@diffusers/base/post-trained."


def find_pipeline(uri: str, ranks: Ranks) -> Path:
    """Return the local folder of a pipeline: a path unchanged, anything else fetched once by rank 0.

    Raises:
        UnknownNameError: the folder has no pipeline.
        BlockedError: it is not a Cosmos-Predict 2.5 pipeline, or it cannot be downloaded.

    """
    folder = fetch.for_all_ranks(uri, ranks)
    for part in CLASSES:
        require_part(folder, part)
    return folder


def require_part(folder: Path, part: str) -> None:
    """Check in model_index.json that a part exists and has the class that this skill supports.

    Raises:
        UnknownNameError: the folder is not a pipeline, or lacks the part.
        BlockedError: the part is of another class.

    """
    index = read_index(folder)
    named = index.get(part)
    if not isinstance(named, list) or not (folder / part).is_dir():
        raise UnknownNameError.of("no_pipeline_part", f"{folder} has no {part}.", LAYOUT_FIX, path=str(folder))
    expected = CLASSES.get(part)
    if expected is not None and named[-1] != expected:
        message = f"The {part} of {folder} is a {named[-1]}; Cosmos-Predict 2.5 has a {expected}."
        raise BlockedError.of("pipeline_class", message, LAYOUT_FIX, path=str(folder))


def read_index(folder: Path) -> dict[str, Any]:
    """Return model_index.json. Raises UnknownNameError when it is missing or unreadable."""
    try:
        document = json_reader.loads(regular_files.read_bytes(folder / INDEX))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise UnknownNameError.of("no_pipeline", f"{folder} has no readable {INDEX}.", LAYOUT_FIX, path=str(folder))
    return document


# --- parts --------------------------------------------------------------------------------------------------------


def load_transformer(folder: Path, dtype: torch.dtype, device: torch.device, variant: str | None = None) -> Any:
    """Return the frozen CosmosTransformer3DModel, in evaluation mode."""
    from diffusers import CosmosTransformer3DModel

    return _load(CosmosTransformer3DModel, folder, "transformer", _Placement(dtype, device, variant))


def load_vae(folder: Path, dtype: torch.dtype, device: torch.device, variant: str | None = None) -> Any:
    """Return the frozen AutoencoderKLWan, in evaluation mode."""
    from diffusers import AutoencoderKLWan

    return _load(AutoencoderKLWan, folder, "vae", _Placement(dtype, device, variant))


def load_text_encoder(
    folder: Path, dtype: torch.dtype, device: torch.device, variant: str | None = None
) -> tuple[Any, Any]:
    """Return the frozen text encoder and its tokenizer."""
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    require_part(folder, "tokenizer")
    encoder = _load(Qwen2_5_VLForConditionalGeneration, folder, "text_encoder", _Placement(dtype, device, variant))
    load: Callable[..., Any] = AutoTokenizer.from_pretrained
    return encoder, _readable(folder, "tokenizer", load, str(folder / "tokenizer"), trust_remote_code=False)


def load_scheduler(folder: Path) -> Any:
    """Return the UniPC scheduler with the folder's settings."""
    from diffusers import UniPCMultistepScheduler

    require_part(folder, "scheduler")
    load: Callable[..., Any] = UniPCMultistepScheduler.from_pretrained
    return _readable(folder, "scheduler", load, str(folder / "scheduler"))


def read_transformer_config(folder: Path) -> dict[str, Any]:
    """Return the settings of the transformer. Raises UnknownNameError, BlockedError."""
    from diffusers import CosmosTransformer3DModel

    require_part(folder, "transformer")
    load: Callable[..., Any] = CosmosTransformer3DModel.load_config
    config: dict[str, Any] = _readable(folder, "transformer", load, str(folder / "transformer"))
    return config


@dataclass(frozen=True)
class ContextProjection:
    """The transformer's text projection, loaded without the rest of it."""

    config: Any
    crossattn_proj: nn.Sequential | None


def load_context_projection(
    folder: Path, dtype: torch.dtype, device: torch.device, variant: str | None = None
) -> ContextProjection:
    """Return the part of a transformer that `transformer.project_context` uses: 0.2 GB instead of 4."""
    from safetensors import safe_open

    config = read_transformer_config(folder)
    projects = SimpleNamespace(use_crossattn_projection=bool(config.get("use_crossattn_projection")))
    if not projects.use_crossattn_projection:
        return ContextProjection(projects, None)
    names = ("crossattn_proj.0.weight", "crossattn_proj.0.bias")
    found: dict[str, Tensor] = {}
    for file in weight_files(folder / "transformer", variant):
        with safe_open(str(file), framework="pt", device="cpu") as weights:
            found |= {name: weights.get_tensor(name) for name in names if name in weights.keys()}  # noqa: SIM118
    if missing := [name for name in names if name not in found]:
        raise _incomplete(folder / "transformer", missing)
    outputs, inputs = found[names[0]].shape
    linear = nn.Linear(inputs, outputs, device="meta")
    linear.weight, linear.bias = (nn.Parameter(found[name].to(device, dtype), requires_grad=False) for name in names)
    return ContextProjection(projects, nn.Sequential(linear, nn.GELU()))


@dataclass(frozen=True)
class _Placement:
    dtype: torch.dtype
    device: torch.device
    variant: str | None


def _load(kind: Any, folder: Path, part: str, placement: _Placement) -> Any:
    require_part(folder, part)
    weight_files(folder / part, placement.variant)
    is_transformers = kind.__module__.startswith("transformers")
    options: dict[str, Any] = {"dtype": placement.dtype, "variant": placement.variant, "output_loading_info": True}
    if is_transformers and placement.device.type == "cuda":
        options["device_map"] = {"": placement.device}
    load: Callable[..., Any] = kind.from_pretrained
    model, report = _readable(folder, part, load, str(folder / part), use_safetensors=True, **options)
    if missing := sorted(report["missing_keys"]):
        raise _incomplete(folder / part, missing)
    return model.requires_grad_(False).to(placement.device).eval()


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """Return the safetensors files of a part: one, or the shards that its index lists.

    Raises:
        BlockedError: there are none for this variant, or shards are missing.

    """
    suffix = f".{variant}" if variant else ""
    for stem in ("diffusion_pytorch_model", "model"):  # diffusers' name, transformers' name
        index = folder / f"{stem}.safetensors.index{suffix}.json"
        if index.is_file():
            shards = sorted(set(weight_map(index).values()))
            if missing := [name for name in shards if not (folder / name).is_file()]:
                raise _incomplete(folder, missing)
            return [folder / name for name in shards]
        if (file := folder / f"{stem}{suffix}.safetensors").is_file():
            return [file]
    if variant is None:
        raise _incomplete(folder, ["*.safetensors"])
    fix = "Leave model.variant empty for the default files, or give an existing variant."
    raise BlockedError.of("no_variant_weights", f"{folder} has no weights of variant '{variant}'.", fix)


def _readable(folder: Path, part: str, load: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a library's loader; report its errors as an unreadable checkpoint."""
    from safetensors import SafetensorError

    try:
        return load(*args, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        message = f"The {part} of {folder} cannot be loaded: {str(error).splitlines()[0]}"
        raise BlockedError.of(
            "weights_unreadable", message, "Download the checkpoint again.", path=str(folder)
        ) from None


def _incomplete(folder: Path, missing: list[str]) -> BlockedError:
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    message = f"{folder} lacks {shown}: it would run on random weights."
    return BlockedError.of("weights_missing", message, "Download the checkpoint again.", path=str(folder))


# --- latents ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def encode_latents(vae: Any, pixels: Tensor) -> Tensor:
    """Return normalised latents (B, 16, T, h, w) in float32 of pixels (B, 3, F, H, W) in [-1, 1].

    Deterministic: the mean of the posterior. One clip at a time, to limit the VAE's memory.
    """
    means = [vae.encode(clip.unsqueeze(0).to(vae.device, vae.dtype)).latent_dist.mode() for clip in pixels]
    mean, std = _statistics(vae)
    return (torch.cat(means).float() - mean) / std


@torch.no_grad()
def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Return pixels (B, 3, F, H, W) in [-1, 1], in the VAE's type, of normalised latents (B, 16, T, h, w)."""
    mean, std = _statistics(vae)
    plain = latents.to(vae.device, torch.float32) * std + mean
    clips = [vae.decode(clip.unsqueeze(0).to(vae.dtype), return_dict=False)[0] for clip in plain]
    return torch.cat(clips).clamp(-1, 1)


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=vae.device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std
