import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason.quantization import scales, scheme
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations, Inputs

FLOAT8_MAX, FLOAT4_MAX = 448.0, 6.0
LAYER = "model.language_model.layers.0.self_attn.q_proj"
ATTENTION = "model.language_model.layers.0.self_attn"


def test_a_static_float8_scale_is_the_largest_input_over_448(network: Any, prepare: Callable[..., Activations]) -> None:
    activations = prepare(network, "FP8", kv_fp8=True)
    scales.set_scales(network, activations)
    for name, layer in _layers(network).items():
        largest = activations.inputs[name].largest.amax()
        assert torch.allclose(layer.input_scale, largest / FLOAT8_MAX)
        assert torch.allclose(layer.weight_scale, layer.weight.abs().amax() / FLOAT8_MAX)
    attention = scheme.cached_attentions(network)[ATTENTION]
    assert torch.allclose(attention.k_scale, activations.keys[ATTENTION] / FLOAT8_MAX)
    assert torch.allclose(attention.v_scale, activations.values[ATTENTION] / FLOAT8_MAX)


def test_the_global_scales_of_4_bit_floats_use_the_whole_range_of_both_types(
    network: Any, prepare: Callable[..., Activations]
) -> None:
    activations = prepare(network, "NVFP4")
    scales.set_scales(network, activations)
    layer = _layers(network)[LAYER]
    largest = activations.inputs[LAYER].largest.amax()
    assert torch.allclose(layer.input_global_scale, FLOAT8_MAX * FLOAT4_MAX / largest)
    group = layer.weight[7, 16:32].abs().amax()
    expected = (group / FLOAT4_MAX * layer.weight_global_scale).to(torch.float8_e4m3fn).float()
    assert torch.equal(layer.weight_scale[7, 1], expected.squeeze())


def test_layers_that_engines_fuse_share_their_global_scale(network: Any, prepare: Callable[..., Activations]) -> None:
    scales.set_scales(network, prepare(network, "NVFP4"))
    layers = _layers(network)
    for parent, names in itertools.product(("0", "1"), scales.FUSED):
        place = f"model.language_model.layers.{parent}.{'self_attn' if 'q_proj' in names else 'mlp'}"
        fused = [layers[f"{place}.{name}"] for name in names]
        largest = max(float(layer.weight.detach().abs().amax()) for layer in fused)
        for layer in fused:
            assert float(layer.weight_global_scale) == pytest.approx(FLOAT8_MAX * FLOAT4_MAX / largest)


def test_an_integer_scale_is_the_candidate_of_least_weighted_error(
    network: Any, prepare: Callable[..., Activations]
) -> None:
    activations = prepare(network, "W4A16")
    scales.set_scales(network, activations)
    weight, importance = (
        _layers(network)[LAYER].weight.detach().double(),
        activations.inputs[LAYER].mean_square.double(),
    )
    for row in (0, 9):
        largest = float(weight[row].abs().amax())
        errors = {}
        for share in scales.CANDIDATES:
            scale = largest * share / 7.5  # 4 bits: -8 to 7
            rounded = (weight[row] / scale).round().clamp(-8, 7) * scale
            errors[scale] = float(((rounded - weight[row]).square() * importance).sum())
        assert float(_layers(network)[LAYER].weight_scale[row, 0]) == pytest.approx(min(errors, key=errors.__getitem__))


def test_an_outlier_that_no_input_reaches_does_not_widen_the_scale(network: Any) -> None:
    scheme.apply(network, "W4A16", kv_fp8=False)
    layers = _layers(network)
    with torch.no_grad():
        for layer in layers.values():
            layer.weight[:, 0] = 1.3 * layer.weight.abs().amax()
    silent = {name: _inputs(layer.in_features, quiet=0) for name, layer in layers.items()}
    scales.set_scales(network, Activations(silent))
    unaware = {name: layer.weight_scale.clone() for name, layer in layers.items()}
    even = {name: _inputs(layer.in_features) for name, layer in layers.items()}
    scales.set_scales(network, Activations(even))
    assert all((unaware[name][:, 0] < layer.weight_scale[:, 0]).all() for name, layer in layers.items())


@pytest.mark.parametrize("name", ["W8A8", "W8A16"])
def test_int8_weights_are_rounded_as_in_float32_though_the_model_is_bfloat16(
    network: Any, prepare: Callable[..., Activations], name: str
) -> None:
    from compressed_tensors.compressors import decompress_module

    network = network.to(torch.bfloat16)
    scales.set_scales(network, prepare(network, name))
    layer = _layers(network)[LAYER]
    weight, scale = layer.weight.double(), layer.weight_scale.double()
    expected = (weight / scale).round().clamp(-128, 127)
    assert layer.weight_scale.dtype == torch.bfloat16
    scales.pack(network)
    assert layer.weight_scale.dtype == torch.bfloat16
    layer.weight_scale.data = layer.weight_scale.data.float()
    decompress_module(layer)
    assert torch.equal((layer.weight.double() / scale).round(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["FP8_DYNAMIC", "FP8", "W8A8", "W8A16", "W4A16", "NVFP4"])
def test_the_gpu_packs_the_same_numbers_as_the_cpu(
    network: Any, prepare: Callable[..., Activations], name: str
) -> None:
    scales.set_scales(network, prepare(network, name))
    on_gpu = copy.deepcopy(network).cuda()
    for packed in (network, on_gpu):
        scales.pack(packed)
    theirs = dict(_layers(on_gpu)[LAYER].named_parameters(recurse=False))
    for key, ours in _layers(network)[LAYER].named_parameters(recurse=False):
        assert torch.equal(ours.view(torch.uint8), theirs[key].cpu().view(torch.uint8)), key


def _layers(network: Any) -> dict[str, Any]:
    return dict(scheme.quantized_layers(network))


def _inputs(width: int, quiet: int | None = None) -> Inputs:
    mean_square = torch.ones(width)
    if quiet is not None:
        mean_square[quiet] = 0
    return Inputs(torch.ones(width), mean_square, 1)
