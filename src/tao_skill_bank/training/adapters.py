"""LoRA adapters through peft: added, written as a folder that plain peft loads, merged."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.core import json_reader, umask
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.weights.safetensors_files import fingerprint

BASE_FILE = "base_model.json"
TARGETS_FIX = "Choose the adapter's target modules among the model's linear layers."
MUTATING = ("pissa", "olora")  # initialisations that also change the base weights


def add(model: Any, options: Mapping[str, Any], base_path: str, fix: str = TARGETS_FIX) -> Any:
    """Return the model with LoRA adapters; everything else is frozen.

    Args:
        model: a transformers model.
        options: keyword arguments of peft.LoraConfig.
        base_path: recorded in the adapter folder as the base model.
        fix: what a user changes where nothing is adapted, by the keys of the model's own spec.

    Raises:
        BlockedError: no module has any of the target names.

    """
    peft = _peft()
    targets = options["target_modules"]
    if "all-linear" in targets:
        options = {**options, "target_modules": "all-linear"}
    try:
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **options))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise BlockedError.of("lora_targets", f"No adapter fits the model: {reason}", fix) from None
    adapted.peft_config["default"].base_model_name_or_path = base_path
    return adapted


def initial_state(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of the adapter weights where their initialisation changed the base weights, else nothing."""
    if model.peft_config["default"].init_lora_weights not in MUTATING:
        return {}
    names = (".lora_A.", ".lora_B.")
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if any(part in name for part in names)
    }


def write(
    folder: Path, model: Any, state: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor], base: Path | None
) -> None:
    """Write an adapter folder: adapter_config.json, adapter_model.safetensors and the base model's identity.

    Where the base weights were changed at the start (PiSSA, OLoRA), the change is folded in: with W the untouched
    base, W + B A - B0 A0 is a LoRA of twice the rank, so the folder fits the base model as it is on disk.
    """
    import peft
    from safetensors.torch import save_file

    config = model.peft_config["default"]
    tensors = dict(state)
    if initial:
        tensors = {name: _folded(name, tensor, initial) for name, tensor in tensors.items()}
        config = _doubled(config)
    adapter = peft.get_peft_model_state_dict(model, state_dict=tensors)
    adapter = {name: tensor.contiguous() for name, tensor in adapter.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    umask.follow(folder)
    inference_mode, config.inference_mode = config.inference_mode, True
    config.save_pretrained(str(folder))
    config.inference_mode = inference_mode
    if base is not None:
        identity = {"path": str(base), "fingerprint": fingerprint(base)}
        (folder / BASE_FILE).write_text(json.dumps(identity, indent=2), encoding="utf-8")


def merge(model: Any, adapter: Path, base: Path) -> Any:
    """Return the base model with the adapter's updates added to its weights.

    Raises:
        BlockedError: the folder holds no adapter, or one that was trained on another base model.

    """
    if not (adapter / "adapter_config.json").is_file():
        message = f"{adapter} holds no adapter_config.json."
        fix = "Give an adapter folder, or turn the adapter off to read the folder as a whole model."
        raise BlockedError.of("no_adapter", message, fix)
    _require_same_base(adapter, base)
    try:
        return _peft().PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _other_base(adapter, base, lines[min(1, len(lines) - 1)]) from None


def _require_same_base(adapter: Path, base: Path) -> None:
    path = adapter / BASE_FILE
    if not path.is_file():
        return
    trained_on = json_reader.read_object(path, f"Copy the adapter again, or remove {path}: it is then not compared.")
    here, expected = fingerprint(base), trained_on.get("fingerprint")
    if here and expected and expected != here:
        raise _other_base(adapter, base, f"it was trained on {trained_on.get('path')}, whose weights differ")


def _other_base(adapter: Path, base: Path, reason: str) -> BlockedError:
    message = f"Adapter {adapter} does not fit the base model {base}: {reason}."
    return BlockedError.of("adapter_base_mismatch", message, "Name the model that it was trained on as its base.")


def _folded(name: str, tensor: torch.Tensor, initial: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if name not in initial:
        return tensor
    start = initial[name].to(tensor.dtype)
    return torch.cat([tensor, start]) if ".lora_A." in name else torch.cat([tensor, -start], dim=1)


def _doubled(config: Any) -> Any:
    import copy

    doubled = copy.deepcopy(config)
    factor = math.sqrt(2) if config.use_rslora else 2  # keeps the scale alpha / r, or alpha / sqrt(r)
    doubled.r, doubled.lora_alpha = 2 * config.r, config.lora_alpha * factor
    doubled.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    doubled.alpha_pattern = {name: alpha * factor for name, alpha in config.alpha_pattern.items()}
    doubled.init_lora_weights = True
    return doubled


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtraError.for_module("peft", "train") from None
    return peft
