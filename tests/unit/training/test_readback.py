"""Numbers that the host reads later, and the device's clock, on the CPU."""

import pytest

pytest.importorskip("torch")

import torch

from tao_skill_bank.training.readback import Mark, Readback


def test_values_are_those_at_the_time_of_the_copy() -> None:
    numbers = torch.tensor([1.5, float("inf"), -2.0])
    readback = Readback(numbers)
    numbers.zero_()
    assert readback.values() == [1.5, float("inf"), -2.0]


def test_time_runs_from_an_earlier_moment_to_a_later_one() -> None:
    first = Mark(torch.device("cpu"))
    sum(range(10_000))
    second = Mark(torch.device("cpu"))
    second.wait()
    assert second.seconds_since(first) > 0
    assert second.seconds_since(first) == -first.seconds_since(second)


@pytest.mark.gpu
def test_a_gpu_tells_its_own_time() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    device = torch.device("cuda")
    first = Mark(device)
    matrix = torch.randn(2048, 2048, device=device)
    readback = Readback((matrix @ matrix).sum()[None])
    assert len(readback.values()) == 1
    assert readback.mark.seconds_since(first) > 0
