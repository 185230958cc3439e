"""Products in float8 against the same roundings by hand, and against products without them."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchao")

import torch
from functorch.compile import make_boxed_func
from torch import Tensor

from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.training import float8
from tao_skill_bank.training.float8 import Float8

LARGEST = torch.finfo(torch.float8_e4m3fn).max


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.bfloat16)


def rounded(tensor: Tensor, dims: tuple[int, ...], *, power_of_two: bool) -> Tensor:
    """Round to float8 in steps that the largest value of each row, or of the tensor, decides."""
    largest = tensor.abs().amax(dims, keepdim=True).double()
    scale = (LARGEST / largest).float()
    if power_of_two:
        scale = torch.exp2(torch.floor(torch.log2(scale)))
    return (tensor.float() * scale).to(torch.float8_e4m3fn).float() / scale


@pytest.mark.parametrize("recipe", ["rowwise", "tensorwise"])
def test_a_product_equals_its_roundings_by_hand(recipe: str) -> None:
    inputs, weight = drawn(32, 64, seed=0), drawn(48, 64, seed=1)
    inputs[3] *= 100  # a row that would drown the others in one scale
    got = Float8.of(recipe, emulate=True).product(inputs, weight)
    dims, power = ((1,), True) if recipe == "rowwise" else ((0, 1), False)
    expected = rounded(inputs, dims, power_of_two=power) @ rounded(weight, dims, power_of_two=power).T
    torch.testing.assert_close(got.float(), expected, rtol=1e-2, atol=1e-2 * float(expected.abs().mean()))
    assert not torch.equal(got, inputs @ weight.T)


@pytest.mark.parametrize("recipe", ["rowwise", "tensorwise"])
def test_gradients_are_close_to_those_of_bfloat16(recipe: str) -> None:
    def gradients(how: Float8 | None) -> list[Tensor]:
        inputs, weight = drawn(2, 32, 64, seed=0).requires_grad_(), drawn(48, 64, seed=1).requires_grad_()
        out = inputs @ weight.T if how is None else how.product(inputs, weight)
        out.float().square().sum().backward()
        assert inputs.grad is not None
        assert weight.grad is not None
        return [out.detach(), inputs.grad, weight.grad]

    for got, expected in zip(gradients(Float8.of(recipe, emulate=True)), gradients(None), strict=True):
        assert got.dtype == torch.bfloat16
        difference = float((got - expected).float().norm() / expected.float().norm())
        assert 1e-3 < difference < 0.06


@pytest.mark.parametrize(("trains", "products"), [(False, 1), (True, 2)])
def test_compiled_the_gradient_of_a_frozen_weight_is_not_computed(products: int, *, trains: bool) -> None:
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    backward: list[int] = []

    def count(graph: Any, _: Any) -> Any:
        backward.append(sum(node.target is torch.ops.aten.mm.default for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    how = Float8.of("rowwise", emulate=True)
    torch._dynamo.reset()
    backend = aot_autograd(
        fw_compiler=lambda graph, _: make_boxed_func(graph.forward),
        bw_compiler=count,
        partition_fn=min_cut_rematerialization_partition,
    )
    inputs, weight = drawn(32, 64, seed=0).requires_grad_(), drawn(48, 64, seed=1).requires_grad_(trains)
    torch.compile(how.product, backend=backend)(inputs, weight).float().sum().backward()
    assert backward == [products]


def test_sizes_that_the_kernels_do_not_take_are_told() -> None:
    assert Float8.suits(torch.empty(32, 64))
    assert not Float8.suits(torch.empty(32, 60))


def test_the_cpu_is_refused_with_the_fix() -> None:
    with pytest.raises(BlockedError, match="The CPU has no float8") as caught:
        float8.require_gpu(torch.device("cpu"), "train.fp8.enable_fp8")
    assert "train.fp8.enable_fp8=false" in caught.value.problems[0].fix


@pytest.mark.parametrize(("found", "refused"), [((8, 6), True), ((8, 9), False), ((9, 0), False)])
def test_a_gpu_older_than_ada_is_refused(
    found: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: found)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A card")
    if not refused:
        float8.require_gpu(torch.device("cuda"), "train.fp8.enable_fp8")
        return
    with pytest.raises(BlockedError, match=r"A card \(sm_86\) has no float8 arithmetic") as caught:
        float8.require_gpu(torch.device("cuda"), "train.fp8.enable_fp8")
    assert caught.value.problems[0].code == "gpu_lacks_narrow_floats"


def test_without_torchao_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchao.float8", None)
    with pytest.raises(MissingExtraError) as caught:
        Float8.of("rowwise")
    assert "tao-skill-bank[fp8]" in caught.value.problems[0].fix
