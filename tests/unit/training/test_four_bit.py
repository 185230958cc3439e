"""Products with weights in 4 bits against bitsandbytes' own layers."""

import sys
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

import torch
from torch import Tensor, nn

from tao_skill_bank.errors import MissingExtraError
from tao_skill_bank.training import four_bit
from tao_skill_bank.training.four_bit import FourBit


def packed(inputs: int = 64, outputs: int = 48, *, nested: bool = True, kind: str = "nf4") -> Any:
    from bitsandbytes.nn import Linear4bit, Params4bit

    layer = Linear4bit(inputs, outputs, bias=False, compute_dtype=torch.float32)
    values = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))
    layer.weight = Params4bit(values, requires_grad=False, compress_statistics=nested, quant_type=kind)
    return layer.to("cpu")  # packs


def drawn() -> Tensor:
    return torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(1))


def test_a_product_and_its_gradient_equal_those_of_the_library() -> None:
    layer = packed()
    weight, outs, grads = FourBit.of(layer), [], []
    for multiply in (weight.product, layer):
        inputs = drawn().requires_grad_()
        out = multiply(inputs)
        out.square().sum().backward()
        outs.append(out)
        grads.append(inputs.grad)
    torch.testing.assert_close(outs[0], outs[1])
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(
        weight.whole(torch.float32), outs[0].new_tensor(weight.product(torch.eye(64)).T.tolist())
    )


def test_nothing_but_the_packed_weight_is_kept_for_the_backward_pass() -> None:
    weight, kept = FourBit.of(packed(1024, 1024)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        weight.product(torch.randn(2, 1024, requires_grad=True))
    assert sum(tensor.nbytes for tensor in kept) < 0.55 * 1024**2


def test_a_weight_takes_the_bits_that_memory_is_estimated_with() -> None:
    weight = FourBit.of(packed(1024, 1024))
    stored = weight.packed.nbytes + weight.scales[0].nbytes + weight.scales[1].nbytes
    assert 8 * stored / 1024**2 == pytest.approx(four_bit.BITS)


def test_the_operator_keeps_its_contracts_with_compilers() -> None:
    weight = FourBit.of(packed())
    inputs = (drawn().requires_grad_(), *weight)
    torch.library.opcheck(torch.ops.tao_skill_bank.four_bit_product.default, inputs)


@pytest.mark.parametrize("options", [{"nested": False}, {"kind": "fp4"}])
def test_weights_packed_in_another_way_are_left_to_their_layer(options: dict[str, Any]) -> None:
    assert four_bit.is_packed(packed())
    assert not four_bit.is_packed(packed(**options))
    assert not four_bit.is_packed(nn.Linear(4, 4))


def test_without_bitsandbytes_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError) as caught:
        four_bit.settings(torch.float32, [])
    assert "tao-skill-bank[qlora]" in caught.value.problems[0].fix
