"""What inspection knows of a network that a train spec trains: built once, then remembered.

Building it takes seconds of imports; what depends on data, batches and precision is computed from these facts.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.memory import Shape, Stack
from tao_skill_bank.training import inspection


@dataclass(frozen=True)
class NetworkFacts:
    """Facts of one network.

    Attributes:
        shape: the sizes that its memory depends on.
        lora: matches of the adapters' targets; None without adapters.
        problems, notes: what the spec names in vain, and what it also freezes.
        tower_is_frozen: whether nothing in the vision tower is trained.

    """

    model_type: str
    shape: Shape
    lora: Mapping[str, Any] | None
    problems: list[dict[str, Any]]
    notes: list[dict[str, str]]
    tower_is_frozen: bool


def of(config: TrainConfig) -> NetworkFacts:
    """Return the facts of the network of a spec.

    Raises:
        UnknownNameError: the architecture of the model is not available locally.
        BlockedError: it is not a dense Qwen3-VL, or adapters fit no layer.
        RequestError: nothing is left to train.

    """
    architecture = architectures.find(config.policy.model_name_or_path)

    def build() -> dict[str, Any]:
        from tao_skill_bank.models.cosmos_reason import meta_network

        return meta_network.facts(config)

    found = inspection.remembered(json.dumps([architecture, _named(config)], sort_keys=True), build)
    sizes = found["shape"]
    shape = Shape(**{**sizes, "text": Stack(**sizes["text"]), "vision": Stack(**sizes["vision"])})
    return NetworkFacts(**{**found, "shape": shape})


def _named(config: TrainConfig) -> list[Any]:
    """Return what decides, besides the architecture, what is built and what of the spec names a part of it."""
    rates = config.train.optm_lr
    lora = asdict(config.policy.lora) if config.policy.lora else None
    return [lora, config.policy.frozen_parts, rates if isinstance(rates, list) else None]
