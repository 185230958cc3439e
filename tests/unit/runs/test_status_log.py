"""status.jsonl and metrics.jsonl: one strict JSON object per line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.runs.status_log import Diagnosis, MetricsWriter, StatusWriter


def _lines(path: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_run_reads_as_started_running_success(tmp_path: Path) -> None:
    status = StatusWriter(tmp_path)
    status.write("STARTED", "begin")
    status.progress(1, 4, "first")
    status.progress(3, 4, "third")
    status.write("SUCCESS", "done")
    lines = _lines(status.path)
    assert [line["state"] for line in lines] == ["STARTED", "RUNNING", "RUNNING", "SUCCESS"]
    assert [line["step"] for line in lines] == [0, 1, 3, 3]
    assert lines[1]["eta_seconds"] is None
    assert lines[2]["eta_seconds"] >= 0
    assert set(lines[0]) == {"time", "state", "step", "total", "eta_seconds", "message"}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _reported(tmp_path: Path, total: int, seconds_per_step: float) -> list[int]:
    clock = Clock()
    status = StatusWriter(tmp_path, clock=clock)
    for step in range(1, total + 1):
        clock.seconds += seconds_per_step
        status.progress(step, total, f"step {step}")
    return [line["step"] for line in _lines(status.path)]


@pytest.mark.parametrize("total", [1, 12, 100])
def test_a_short_run_has_a_line_for_every_step_however_quick(tmp_path: Path, total: int) -> None:
    assert _reported(tmp_path, total, 0.001) == list(range(1, total + 1))


@pytest.mark.parametrize("seconds_per_step", [1.0, 7.5])
def test_slow_steps_have_a_line_each(tmp_path: Path, seconds_per_step: float) -> None:
    assert _reported(tmp_path, 1000, seconds_per_step) == list(range(1, 1001))


@pytest.mark.parametrize(("total", "seconds_per_step"), [(5000, 0.01), (20000, 0.001), (1000, 0.25)])
def test_quick_steps_have_a_line_per_second_or_percent_and_the_first_and_last(
    tmp_path: Path, total: int, seconds_per_step: float
) -> None:
    steps = _reported(tmp_path, total, seconds_per_step)
    assert (steps[0], steps[-1]) == (1, total)
    assert len(steps) <= 102 + total * seconds_per_step
    assert {step * 100 // total for step in steps} == set(range(101))


@pytest.mark.parametrize("end", ["phase", "SUCCESS", "FAILURE", "flush"])
def test_the_newest_withheld_line_is_written_before_what_follows(tmp_path: Path, end: str) -> None:
    status = StatusWriter(tmp_path, clock=Clock())
    for step in (1, 2, 3):
        status.progress(step, 1000, f"step {step}")
    assert [line["step"] for line in _lines(status.path)] == [1]
    if end == "phase":
        status.phase("validating")
    elif end == "flush":
        status.flush()
    else:
        status.write(end, "the end")  # type: ignore[arg-type]
    lines = _lines(status.path)
    assert [line["message"] for line in lines[:2]] == ["step 1", "step 3"]
    assert [line["step"] for line in lines] == [1, *([3] * (len(lines) - 1))]
    status.flush()
    assert len(_lines(status.path)) == len(lines)


def test_a_phase_before_the_first_step_leaves_the_state_started_and_counts_no_steps(tmp_path: Path) -> None:
    status = StatusWriter(tmp_path, clock=Clock())
    status.write("STARTED", "begin")
    for done in range(1, 601):
        status.phase("encoding windows", done, 600)
    status.phase("loading the model")
    status.progress(1, 10, "first")
    status.phase("validating")
    status.progress(2, 10, "second")
    lines = _lines(status.path)
    assert len(lines) <= 107
    assert [line["message"] for line in lines[1:3]] == ["encoding windows: 1 of 600", "encoding windows: 6 of 600"]
    assert [line["message"] for line in lines[-5:-3]] == ["encoding windows: 600 of 600", "loading the model"]
    assert {line["state"] for line in lines[:-3]} == {"STARTED"}
    assert {line["step"] for line in lines[:-3]} == {0}
    assert [(line["state"], line["step"], line.get("phase")) for line in lines[-3:]] == [
        ("RUNNING", 1, None),
        ("RUNNING", 1, "validating"),
        ("RUNNING", 2, None),
    ]


def test_other_ranks_stay_silent_unless_they_know_why_the_run_failed(tmp_path: Path) -> None:
    status = StatusWriter(tmp_path, enabled=False)
    status.write("STARTED", "begin")
    status.progress(1, 1000, "first")
    status.phase("validating")
    status.flush()
    assert not status.path.exists()
    status.write("FAILURE", "cause", diagnosis=Diagnosis("code", "cause", "cure"))
    assert _lines(status.path)[0]["diagnosis"] == {"code": "code", "cause": "cause", "cure": "cure"}


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    metrics = MetricsWriter(tmp_path)
    metrics.write(1, 0.5, {"train/loss_avg": float("nan"), "train/mfu": None, "optimizer/lr": 1e-5})
    line = _lines(metrics.path)[0]
    assert (line["train/loss_avg"], line["train/mfu"], line["optimizer/lr"]) == (None, None, 1e-5)
    assert (line["step"], line["epoch"]) == (1, 0.5)
