"""Benchmarks are run by hand on machines that are not always at hand: what they measure with must not rot meanwhile."""

import json
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
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    assert "packed 2" in finished.stdout or (tmp_path / "model" / "config.json").is_file()


def test_the_benchmark_of_the_searches_runs_at_tiny_size(tmp_path):
    """With so few seeds it may find an algorithm worse than another (1); it has to end with its table and its plot."""
    plot = tmp_path / "plot.png"
    only = ("random", "asha", "pbt", "grid")
    options = ["--seeds", "2", "--trainings", "5", "--plot", str(plot), "--only", *only]
    command = [sys.executable, str(FOLDER / "automl_surrogates.py"), *options]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode in (0, 1), finished.stderr
    assert all(f"| {name} |" in finished.stdout for name in only)
    assert plot.stat().st_size > 10_000


def test_the_benchmark_of_staging_runs_with_small_clips():
    command = [sys.executable, str(FOLDER / "staging.py"), "--smoke", "--round-trips-ms", "0"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    assert all(f"| {name} |" in finished.stdout for name in ("ours", "boto3_loop", "s3fs_get"))


def test_the_benchmark_of_mining_finds_what_its_peer_finds():
    command = [sys.executable, str(FOLDER / "mining.py"), "--smoke", "--metrics", "cosine", "--ways", "ours", "numpy"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    assert "| cosine | numpy |" in finished.stdout
    assert finished.stdout.count("100.00 %") == 2


def test_the_benchmark_of_embeddings_finds_the_vectors_of_its_peer():
    command = [sys.executable, str(FOLDER / "embed.py"), "--smoke", "--rows", "*s"]  # those that are not compiled
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    rows = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    same = {row["row"]: row["same"] for row in rows if "same" in row}
    assert same.keys() == {"vision, pass, ours", "vision, files, ours", "joint, pass, ours"}
    assert min(same.values()) > 0.999


def test_the_benchmark_of_gaps_writes_what_its_peer_writes():
    command = [sys.executable, str(FOLDER / "gaps.py"), "--smoke"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    assert "| pyarrow |" in finished.stdout
    assert finished.stdout.count("| the same |") == 2
