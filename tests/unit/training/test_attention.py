"""Attention on the CPU; FlashAttention-4 itself runs on a GPU only."""

import pytest

pytest.importorskip("torch")

import torch

from tao_skill_bank.training.attention import attend, flash_fits, flash_forward


def test_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, tokens, 3, 8, dtype=torch.float64) for tokens in (5, 4, 4))
    weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", query, key) / 8**0.5, dim=-1)
    expected = torch.einsum("bhqk,bkhd->bqhd", weights, value)
    torch.testing.assert_close(attend(query, key, value, flash=False), expected)


def test_flash_attention_is_not_for_the_cpu() -> None:
    assert not flash_fits(torch.empty(1, dtype=torch.bfloat16), 128)


def test_compilers_are_told_the_shapes_of_flash_attention() -> None:
    query, key = torch.empty(2, 6, 3, 8, device="meta"), torch.empty(2, 4, 3, 8, device="meta")
    out, normaliser = flash_forward(query, key, key, None, 0, False)
    assert out.shape == query.shape
    assert (normaliser.shape, normaliser.dtype) == ((2, 3, 6), torch.float32)


@pytest.mark.gpu
def test_flash_attention_equals_torchs_forward_and_backward() -> None:
    if not torch.cuda.is_available() or not flash_fits(torch.empty(1, dtype=torch.bfloat16, device="cuda"), 64):
        pytest.skip("needs a GPU of Hopper or Blackwell and flash-attn-4")
    torch.manual_seed(0)
    tensors = [torch.randn(1, 300, 2, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(4)]
    results = []
    for flash in (False, True):
        out = attend(*tensors[:3], flash=flash)
        results.append((out, *torch.autograd.grad(out, tensors[:3], tensors[3])))
    for expected, got in zip(*results, strict=True):
        assert torch.linalg.norm((got - expected).float()) < 1e-2 * torch.linalg.norm(expected.float())
