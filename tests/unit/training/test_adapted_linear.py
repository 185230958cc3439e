"""Layers of peft read as tensors, and the norms that DoRA divides by."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from torch import Tensor, nn

from tao_skill_bank.training.adapted_linear import LinearReader, apply


def adapted(**settings: Any) -> Any:
    """A linear layer with a bias, adapted by peft, every tensor away from its start value."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    holder = nn.Sequential(nn.Linear(6, 9).double().requires_grad_(False))
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=5, target_modules=["0"], **settings), holder)
    for name, parameter in holder.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.double() + 0.3 * torch.rand_like(parameter.data.double())
    return holder[0]


def sample() -> Tensor:
    return torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("use_dora", [False, True])
def test_a_layer_with_a_bias_computes_what_peft_computes(use_dora: bool) -> None:
    layer = adapted(use_dora=use_dora)
    linear = LinearReader().read(layer)
    assert linear.module is None
    torch.testing.assert_close(apply(linear, sample()), layer(sample()))


def test_adapters_may_be_float32_under_a_layer_of_another_precision() -> None:
    layer = adapted(use_dora=True)
    expected = layer(sample())
    layer.base_layer.to(torch.bfloat16)
    for adapters in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector):
        adapters.float()
    linear = LinearReader().read(layer)
    out = apply(linear, sample().to(torch.bfloat16))
    assert out.dtype == torch.bfloat16
    assert torch.linalg.norm(out.double() - expected) < 2e-2 * torch.linalg.norm(expected)
    out.sum().backward()
    assert layer.lora_A["default"].weight.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", ["lora_bias", "fan_in_fan_out"])
def test_an_adapter_of_another_kind_is_left_to_peft(kind: str) -> None:
    layer = adapted(lora_bias=kind == "lora_bias")
    layer.fan_in_fan_out = kind == "fan_in_fan_out"
    assert LinearReader().read(layer).module is layer


def test_norms_of_the_frozen_rows_are_computed_once() -> None:
    layer, reader = adapted(use_dora=True), LinearReader()
    first, second = reader.read(layer).squared_norms, reader.read(layer).squared_norms
    assert first is not None
    assert first is second
    torch.testing.assert_close(first, layer.base_layer.weight.square().sum(dim=1))
