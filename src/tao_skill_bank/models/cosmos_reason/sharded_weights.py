"""Loads a model that does not fit on a single GPU or host: every rank reads only its own shard of each weight.

    loaded = skeleton(folder, dtype)        # weights without memory
    ...                                     # add adapters, freeze, set dtypes
    forget(model, folder)                   # weights of the checkpoint go to the meta device
    ...                                     # fully_shard
    fill(model, folder, device)             # and are loaded

The result equals `from_pretrained`, adapters and fully_shard, bit for bit and also in the adapters' initial weights:
they are drawn on the CPU, the device of the base weights that peft sees.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.overrides import TorchFunctionMode

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.train import Lora
from tao_skill_bank.weights.model_folders import weight_map
from tao_skill_bank.weights.safetensors_files import read_header

INDEX = "model.safetensors.index.json"
META = torch.device("meta")
WEIGHTLESS_INITS = (True, False, "gaussian")  # others decompose the base weights
# What peft adds to the names of checkpoint weights.
WRAPPERS = (".base_layer", ".original_module", ".modules_to_save.default")
PEFT_PREFIX = "base_model.model."


def suits(folder: Path, lora: Lora | None) -> bool:
    """Return whether a checkpoint can be read in shards: it is safetensors, and its adapters need no base weights."""
    needs_weights = lora is not None and (
        lora.init_lora_weights not in WEIGHTLESS_INITS or bool(getattr(lora, "use_dora", False))
    )
    return bool(_files(folder)) and not needs_weights


def has_part(folder: Path, prefix: str) -> bool:
    """Return whether a checkpoint has weights whose names begin so, in files that can be read in parts."""
    return any(name.startswith(prefix) for name in _files(folder))


def skeleton(folder: Path, dtype: torch.dtype) -> Any:
    """Return the transformers model with real buffers, and weights that are one zero expanded to their full shape."""
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    with torch.random.fork_rng(devices=[]), _EmptyOnMeta():
        model = Qwen3VLForConditionalGeneration._from_config(config, dtype=dtype)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            placeholder = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
            setattr(module, name, nn.Parameter(placeholder, requires_grad=parameter.requires_grad))
    model.tie_weights()
    return model.eval()


def forget(model: nn.Module, folder: Path) -> None:
    """Move every weight of the checkpoint to the meta device; weights added by peft keep their values."""
    files = _files(folder)
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        if _source(name) in files and not parameter.is_meta:
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=META)
            replacement = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            torch.utils.swap_tensors(parameter, replacement)  # type: ignore[no-untyped-call]  # untyped in torch


def fill(model: nn.Module, folder: Path, device: torch.device, *, only: nn.Module | None = None) -> int:
    """Read the weights of a skeleton, sharded or not, onto a device; returns how many bytes were read.

    Args:
        model: a skeleton, possibly modified.
        folder: the checkpoint.
        device: where weights go; the CPU where FSDP offloads.
        only: a part of the model; other weights stay on the meta device.

    Raises:
        BlockedError: the checkpoint lacks a weight, or has it in another shape.

    """
    files, num_bytes = _files(folder), 0
    chosen = None if only is None else {id(parameter) for parameter in only.parameters()}
    names: dict[int, list[str]] = {}
    weights: dict[int, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.device == META and (chosen is None or id(parameter) in chosen):
            names.setdefault(id(parameter), []).append(name)  # tied weights have several
            weights[id(parameter)] = parameter
    state: dict[str, nn.Parameter] = {}
    with ExitStack() as stack:
        readers: dict[Path, Any] = {}
        for key, parameter in weights.items():
            source = next((known for name in names[key] if (known := _source(name)) in files), None)
            if source is None:
                raise _unfit(folder, f"there is no {_source(names[key][0])}")
            reader = _reader(files[source], readers, stack).get_slice(source)
            if tuple(reader.get_shape()) != tuple(parameter.shape):
                found, wanted = list(reader.get_shape()), list(parameter.shape)
                raise _unfit(folder, f"{source} has the shape {found}, but the config specifies {wanted}")
            read = _read(reader, parameter)
            num_bytes += read.nbytes
            filled = _like(parameter, read.to(device, parameter.dtype))
            state.update(dict.fromkeys(names[key], filled))
    model.load_state_dict(state, strict=False, assign=True)
    return num_bytes


def _read(reader: Any, parameter: nn.Parameter) -> Tensor:
    """Read this rank's part of a weight; empty if the weight has fewer rows than there are ranks."""
    if not isinstance(parameter, DTensor):
        whole: Tensor = reader[:]
        return whole
    size, offset = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    if 0 in size:
        return torch.empty(size)
    part: Tensor = reader[tuple(slice(start, start + length) for start, length in zip(offset, size, strict=True))]
    return part.contiguous()


def _like(parameter: nn.Parameter, local: Tensor) -> nn.Parameter:
    if not isinstance(parameter, DTensor):
        return nn.Parameter(local, requires_grad=parameter.requires_grad)
    shared = DTensor.from_local(
        local,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
    return nn.Parameter(shared, requires_grad=parameter.requires_grad)


def _source(name: str) -> str:
    """Return the name of a weight in the checkpoint."""
    source = name.removeprefix(PEFT_PREFIX)
    for wrapper in WRAPPERS:
        source = source.replace(wrapper, "")
    return source


def _files(folder: Path) -> dict[str, Path]:
    """Return the safetensors file of every weight; empty for a checkpoint in another format."""
    index = folder / INDEX
    if index.is_file():
        return {name: folder / file for name, file in weight_map(index).items()}
    file = folder / "model.safetensors"
    return {name: file for name in read_header(file) if name != "__metadata__"} if file.is_file() else {}


def _reader(file: Path, readers: dict[Path, Any], stack: ExitStack) -> Any:
    from safetensors import SafetensorError, safe_open

    if file not in readers:
        try:
            readers[file] = stack.enter_context(safe_open(str(file), framework="pt"))
        except (OSError, SafetensorError) as error:
            raise _unfit(file.parent, str(error).splitlines()[0]) from None
    return readers[file]


def _unfit(folder: Path, reason: str) -> BlockedError:
    message = f"The weights in {folder} cannot be loaded: {reason}."
    return BlockedError.of("weights_unreadable", message, "Download the checkpoint again.")


class _EmptyOnMeta(TorchFunctionMode):
    """Creates uninitialised tensors (weights) on the meta device; buffers are computed and stay real."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = META
        return function(*args, **kwargs)
