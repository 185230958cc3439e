import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.models.cosmos_reason.quantization import scheme

ALL = ("FP8_DYNAMIC", "FP8", "W8A8", "W8A16", "W4A16", "NVFP4")


@pytest.mark.parametrize("name", ALL)
def test_only_linear_layers_of_the_language_model_are_quantized(network: Any, name: str) -> None:
    scheme.apply(network, name, kv_fp8=False)
    layers = scheme.quantized_layers(network)
    linear = {found for found, module in network.named_modules() if isinstance(module, nn.Linear)}
    assert set(layers) == {found for found in linear if ".language_model." in found}
    assert len(layers) == 2 * 7
    assert any(".visual." in found for found in linear - set(layers))
    assert "lm_head" in linear - set(layers)


def test_a_width_that_128_does_not_divide_gets_the_largest_group_that_fits(network: Any) -> None:
    scheme.apply(network, "W4A16", kv_fp8=False)
    assert {layer.in_features for layer in scheme.quantized_layers(network).values()} == {64, 192}
    sizes: set[Any] = {layer.quantization_scheme.weights.group_size for layer in _layers(network)}
    assert sizes == {64}


@pytest.mark.parametrize(("name", "group"), [("W4A16", 32), ("NVFP4", 16)])
def test_a_width_without_a_group_size_is_refused_with_the_schemes_that_have_no_groups(
    network: Any, name: str, group: int
) -> None:
    network.model.language_model.layers[0].mlp.down_proj = nn.Linear(200, 64, bias=False)
    with pytest.raises(BlockedError, match=f"Layers .*200 wide do not divide into groups of {group}") as caught:
        scheme.apply(network, name, kv_fp8=False)
    assert "W8A8" in caught.value.problems[0].fix


@pytest.mark.parametrize("name", ALL)
def test_all_but_the_dynamic_scheme_needs_activations(network: Any, name: str) -> None:
    scheme.apply(network, name, kv_fp8=False)
    assert scheme.needs_activations(network) is (name != "FP8_DYNAMIC")


def test_a_float8_cache_needs_activations_whatever_the_scheme(network: Any) -> None:
    scheme.apply(network, "FP8_DYNAMIC", kv_fp8=True)
    assert scheme.needs_activations(network)
    assert len(scheme.cached_attentions(network)) == 2
    assert all(torch.is_tensor(attention.v_scale) for attention in scheme.cached_attentions(network).values())


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheme, "find_spec", lambda name: None if name == scheme.LIBRARY else importlib.util.find_spec(name)
    )
    with pytest.raises(MissingExtraError) as caught:
        scheme.require_library()
    assert caught.value.problems[0].fix == "pip install 'tao-skill-bank[quantize]'"


def _layers(network: Any) -> list[Any]:
    return list(scheme.quantized_layers(network).values())
