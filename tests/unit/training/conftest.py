"""A small sharded training for the tests of checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import small_training
from small_training import Spec

from tao_skill_bank.training import distributed, entrypoint

Train = Callable[..., int]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Run the small training into a folder of this name, in this process; returns the exit code."""

    def run(name: str, **changes: Any) -> int:
        spec = Spec(str(tmp_path / name), **changes)
        try:
            return entrypoint.run(spec, small_training.train, tmp_path / name)
        finally:
            distributed.stop()

    return run


@pytest.fixture
def whole(train: Train, tmp_path: Path) -> Path:
    """Four epochs without any interruption."""
    assert train("whole", epochs=4) == 0
    return tmp_path / "whole"
