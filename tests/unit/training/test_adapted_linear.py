"""Layers of peft read as tensors, and the norms that DoRA divides by."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from torch import Tensor, nn

from tao_skill_bank.training.adapted_linear import LinearReader, apply


def adapted(size: tuple[int, int] = (6, 9), **settings: Any) -> Any:
    """A linear layer with a bias, adapted by peft, every tensor away from its start value."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    holder = nn.Sequential(nn.Linear(*size).double().requires_grad_(False))
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


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"lora_dropout": 0.5}])
def test_an_adapter_on_a_weight_in_4_bits_computes_what_peft_computes(options: dict[str, Any]) -> None:
    layer = adapted_packed(**options)
    linear = LinearReader().read(layer)
    assert linear.module is None
    assert linear.packed is not None
    outs, grads = [], []
    for run in (layer, lambda inputs: apply(linear, inputs)):
        inputs = torch.randn(4, 64, generator=torch.Generator().manual_seed(2)).requires_grad_()
        torch.manual_seed(5)
        outs.append(run(inputs))
        layer.zero_grad()
        outs[-1].square().sum().backward()
        grads.append([inputs.grad, *(p.grad.clone() for p in layer.parameters() if p.grad is not None)])
    torch.testing.assert_close(outs[1], outs[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)


def test_only_the_base_product_of_an_adapted_layer_is_in_float8() -> None:
    float8 = float8_of("rowwise")
    layer = adapted(size=(64, 32))
    layer.to(torch.bfloat16)
    inputs = torch.randn(8, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(1))
    linear = LinearReader(float8).read(layer)
    base = float8.product(inputs, layer.base_layer.weight)
    delta = layer.lora_B["default"](layer.lora_A["default"](inputs)) * layer.scaling["default"]
    torch.testing.assert_close(apply(linear, inputs), base + delta + layer.base_layer.bias, rtol=2e-2, atol=2e-2)
    assert not torch.equal(apply(linear, inputs), apply(LinearReader().read(layer), inputs))


def test_a_layer_whose_sizes_float8_does_not_take_is_computed_as_it_is() -> None:
    layer = adapted()
    assert LinearReader(float8_of("rowwise")).read(layer).float8 is None


@pytest.mark.parametrize("kind", ["float8", "4 bits"])
def test_one_compiled_function_serves_every_layer(kind: str) -> None:
    reader = LinearReader(float8_of("tensorwise") if kind == "float8" else None)
    layers = [adapted(size=(64, 32)).float() if kind == "float8" else adapted_packed(seed=seed) for seed in range(3)]
    torch._dynamo.reset()
    compiled = torch.compile(lambda inputs, linear: apply(linear, inputs).relu(), backend="aot_eager")
    inputs = torch.randn(16, 64)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for layer in layers:
            linear = reader.read(layer)
            got = compiled(inputs, linear)
            torch.testing.assert_close(got, apply(linear, inputs).relu())


def float8_of(recipe: str) -> Any:
    pytest.importorskip("torchao")
    from tao_skill_bank.training.float8 import Float8

    return Float8.of(recipe, emulate=True)


def adapted_packed(seed: int = 0, **settings: Any) -> Any:
    """A layer in 4 bits, adapted by peft, every adapter weight away from its start value."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(seed)
    layer = bitsandbytes.nn.Linear4bit(64, 48, bias=False, compute_dtype=torch.float32)
    weight = torch.randn(48, 64)
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, compress_statistics=True, quant_type="nf4")
    holder = nn.Sequential(layer).to("cpu")
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=5, target_modules=["0"], **settings), holder)
    for name, parameter in holder.named_parameters():
        if "lora_" in name:
            parameter.data += 0.3 * torch.rand_like(parameter)
    return holder[0]
