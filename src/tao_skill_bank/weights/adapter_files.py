"""LoRA adapters on disk: metadata read from file headers. No weights are loaded.

An adapter is a folder with pytorch_lora_weights.safetensors (diffusers) or adapter_model.safetensors (peft), or such a
file alone. Its settings are in the header of the former or in adapter_config.json next to the file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files, safe_pattern
from tao_skill_bank.core.listing import listed
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.weights import safetensors_files

CONFIG_FILE = "adapter_config.json"
BASE_FILE = "base_model.json"
DIFFUSERS_WEIGHTS, PEFT_WEIGHTS = "pytorch_lora_weights.safetensors", "adapter_model.safetensors"
HEADER_KEY = "lora_adapter_metadata"  # diffusers' name for the settings in the header
PREFIXES = ("base_model.model.", "transformer.")  # peft's and diffusers', before the name of a module
SETTINGS: dict[str, type | tuple[type, ...]] = {
    "r": int,
    "lora_alpha": (int, float),
    "target_modules": (list, str),
    "use_dora": bool,
    "use_rslora": bool,
    "rank_pattern": dict,
    "alpha_pattern": dict,
    "lora_bias": bool,
}


@dataclass(frozen=True)
class Module:
    """The adapter of one module: its rank, and the input and output sizes of its layer."""

    rank: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Adapter:
    """An adapter, read from the headers of its files.

    Attributes:
        path: the folder or file that was named.
        weights: its safetensors file.
        settings: fields of peft.LoraConfig that determine how the weights are used; empty when not recorded.
        modules: by the name of the module in the base model.
        has_magnitudes: whether it is a DoRA.

    """

    path: Path
    weights: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)
    has_magnitudes: bool = False

    @property
    def rank(self) -> int:
        """The rank of most modules; 0 without any."""
        ranks = Counter(module.rank for module in self.modules.values())
        return max(ranks, key=ranks.__getitem__, default=0)

    @property
    def alpha(self) -> float:
        """The recorded alpha, else the rank, as in diffusers."""
        return float(self.settings.get("lora_alpha", self.rank))

    @property
    def targets(self) -> tuple[str, ...]:
        """The recorded module name suffixes, else the module names."""
        named = self.settings.get("target_modules")
        return tuple(sorted(named if isinstance(named, list) else self.modules))


def read(path: Path) -> Adapter:
    """Return a complete adapter with consistent ranks.

    Raises:
        UnknownNameError: there is no such folder or file.
        BlockedError: it is not an adapter, or a truncated or inconsistent one.

    """
    weights = _weights_of(path)
    if corruption := safetensors_files.corruption_of(weights):
        message = f"Adapter weights {weights}: the file {corruption}."
        raise BlockedError.of("adapter_incomplete", message, "Copy the adapter again.", path=str(path))
    header = safetensors_files.read_header(weights)
    metadata = header.pop("__metadata__", {})
    shapes = {plain_name(name): tuple(entry["shape"]) for name, entry in header.items()}
    if foreign := [name for name in shapes if "lora_" not in name]:
        message = f"{weights} holds {listed(foreign[:3], len(foreign))}, which are not LoRA weights."
        fix = "Give an adapter written by train, or a LoRA in diffusers or peft format."
        raise BlockedError.of("adapter_format", message, fix, path=str(path))
    adapter = Adapter(
        path,
        weights,
        settings_of(weights, metadata),
        _modules(path, shapes),
        any("magnitude" in name for name in shapes),
    )
    _require_recorded_ranks(adapter)
    return adapter


def identity(path: Path) -> dict[str, Any]:
    """Return what the adapter records of its base: path, fingerprint, and the part of a pipeline it is of, if any."""
    document = read_json(_folder(path) / BASE_FILE)
    known = document if isinstance(document, dict) else {}
    return {name: text for name, text in known.items() if isinstance(text, str)}


def plain_name(name: str) -> str:
    """Return a tensor's name without the prefix of peft or diffusers."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def settings_of(weights: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in a weight file's header, else those in adapter_config.json next to it."""
    try:
        recorded = json_reader.loads(metadata.get(HEADER_KEY, "null"))
    except ValueError:
        recorded = None
    if isinstance(recorded, dict):
        recorded = {name.removeprefix("transformer."): value for name, value in recorded.items()}
    else:
        recorded = read_json(weights.parent / CONFIG_FILE)
    known = recorded if isinstance(recorded, dict) else {}
    return {name: known[name] for name, kind in SETTINGS.items() if isinstance(known.get(name), kind)}


def _weights_of(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        fix = "Give the folder of an adapter, or its safetensors file."
        raise UnknownNameError.of("adapter_missing", f"Adapter {path} does not exist.", fix, path=str(path))
    named = [path / name for name in (DIFFUSERS_WEIGHTS, PEFT_WEIGHTS) if (path / name).is_file()]
    found = named or sorted(path.glob("*.safetensors"))
    if not named and len(found) != 1:
        message = f"{path} contains neither {DIFFUSERS_WEIGHTS} nor {PEFT_WEIGHTS}: it is not an adapter."
        raise BlockedError.of("adapter_incomplete", message, "Give an adapter folder written by train.", path=str(path))
    return found[0]


def _modules(path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Module]:
    """Return the modules, from the shapes of the matrices A (rank, inputs) and B (outputs, rank)."""
    found: dict[str, Module] = {}
    for name, shape in shapes.items():
        module, marker, _ = name.partition(".lora_A.")
        up = shapes.get(f"{module}.lora_B.weight")
        if not marker or len(shape) != 2:
            continue
        if up is None or len(up) != 2 or up[1] != shape[0]:
            state = "is missing" if up is None else f"has shape {list(up)}"
            message = f"Adapter {path}: lora_A of {module} has rank {shape[0]}, but lora_B {state}."
            raise BlockedError.of("adapter_rank", message, "Copy the adapter again.", path=str(path))
        found[module] = Module(rank=shape[0], inputs=shape[1], outputs=up[0])
    return found


def _require_recorded_ranks(adapter: Adapter) -> None:
    """Compare the ranks of the weights with each record of them."""
    records = {CONFIG_FILE: read_json(_folder(adapter.path) / CONFIG_FILE), "its header": adapter.settings}
    for where, record in records.items():
        if not isinstance(record, dict) or not isinstance(record.get("r"), int):
            continue
        for name, module in adapter.modules.items():
            try:
                recorded = _recorded_rank(name, record)
            except (ValueError, TypeError, OverflowError) as error:
                message = f"Adapter {adapter.path}: the rank_pattern of {where} cannot be read: {error}."
                fix = "Write it as {MODULE NAME: RANK} without nested repetitions."
                raise BlockedError.of("adapter_format", message, fix, path=str(adapter.path)) from None
            if recorded != module.rank:
                message = (
                    f"Adapter {adapter.path}: the weights of {name} have rank {module.rank}, {where} says {recorded}."
                )
                fix = "Its files come from two adapters: copy one complete adapter folder."
                raise BlockedError.of("adapter_rank", message, fix, path=str(adapter.path))


def _recorded_rank(module: str, record: Mapping[str, Any]) -> int:
    patterns = record.get("rank_pattern")
    for pattern, rank in patterns.items() if isinstance(patterns, dict) else ():
        if safe_pattern.matches(pattern, module):
            return int(rank)
    return int(record["r"])


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; None when there is none that can be read."""
    try:
        return json_reader.loads(regular_files.read_bytes(path))
    except (OSError, ValueError):
        return None
