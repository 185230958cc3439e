"""Benchmarks are run by hand on machines that are not always at hand: what they measure with must not rot meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "arguments",
    [
        ("cosmos_reason_train.py", "--rows", "LoRA, ours, features cached, packed 2", "--gradients", "none"),
        ("cosmos_reason_end_to_end.py", "--runs", "none"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_benchmark_of_the_trainer_runs_at_tiny_size(arguments, tmp_path):
    name, *options = arguments
    folder = ["--folder", str(tmp_path)] if "end_to_end" in name else []
    command = [sys.executable, str(FOLDER / name), "--tiny", *folder, *options]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert "packed 2" in finished.stdout or (tmp_path / "model" / "config.json").is_file()
