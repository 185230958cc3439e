"""Sizes that memory depends on, of weights in 4 bits too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import memory, model, prepare, sizes
from tao_skill_bank.models.cosmos_reason.memory import Load, Setup
from tao_skill_bank.training import adapters, four_bit

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}
SETUP = Setup(param_bytes=4, master_bytes=4, shards=1, offload=False, uses_fsdp=False, features_cached=False)
LOAD = Load(tokens=128, patches=256, labels=8, samples=1, per_step=4)


def adapted(folder: Path, quantization: Any = None) -> Any:
    return adapters.add(model.load(folder, torch.float32, torch.device("cpu"), quantization), LORA, str(folder))


def weight_bytes(network: Any) -> int:
    """Count what is really stored for weights, the scales of packed ones included."""
    total = 0
    for weight in network.parameters():
        state = getattr(weight, "quant_state", None)
        total += weight.nbytes + (state.absmax.nbytes + state.state2.absmax.nbytes if state else 0)
    return total


def test_a_plain_model_packs_nothing(tiny_model: Path) -> None:
    network = adapted(tiny_model)
    assert sizes.shape_of(network).packed == 0
    assert sizes.shape_of(network).parameters == sum(weight.numel() for weight in network.parameters())


def test_a_packed_model_has_the_sizes_that_were_planned_without_weights(tiny_model: Path) -> None:
    pytest.importorskip("bitsandbytes")
    planned = sizes.shape_of(adapted(tiny_model), packs=True)
    packed = adapted(tiny_model, four_bit.settings(torch.float32, prepare.UNPACKED))
    assert sizes.shape_of(packed) == planned
    assert planned.packed > 0


def test_the_bytes_of_packed_weights_are_those_that_are_stored(tiny_model: Path) -> None:
    pytest.importorskip("bitsandbytes")
    network = adapted(tiny_model, four_bit.settings(torch.float32, prepare.UNPACKED))
    estimated = memory.parts(sizes.shape_of(network), SETUP, LOAD, 0.0)["weights"]
    assert estimated == pytest.approx(weight_bytes(network), rel=0.01)
    plain = memory.parts(sizes.shape_of(adapted(tiny_model)), SETUP, LOAD, 0.0)["weights"]
    assert estimated < plain
    assert pytest.approx(four_bit.BITS, rel=1e-4) == memory.PACKED_BITS
