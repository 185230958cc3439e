"""Which device a process takes, and how long it waits for the others."""

from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

import torch
import torch.distributed as dist

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.training import distributed


@pytest.fixture(autouse=True)
def _leave_the_group() -> Iterator[None]:
    yield
    distributed.stop()


def test_a_planned_gpu_that_torch_does_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TAO_DEVICE", "cuda")
    with pytest.raises(BlockedError) as caught:
        distributed.start()
    assert caught.value.problems[0].code == "cuda_unavailable"
    assert "platform.options.device=cpu" in caught.value.problems[0].fix


def test_a_planned_cpu_is_used_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TAO_DEVICE", "cpu")
    assert distributed.start().device == torch.device("cpu")


def test_without_a_plan_the_machine_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAO_DEVICE", raising=False)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert distributed.start().device.type == expected


def test_ranks_of_uneven_work_wait_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAO_DEVICE", "cpu")
    distributed.start(distributed.UNEVEN_TIMEOUT)
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))  # type: ignore[union-attr]
    assert backend.options._timeout == distributed.UNEVEN_TIMEOUT
