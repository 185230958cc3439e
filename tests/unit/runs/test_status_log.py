"""status.jsonl and metrics.jsonl: one strict JSON object per line."""

import json
from pathlib import Path
from typing import Any

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


def test_other_ranks_stay_silent_unless_they_know_why_the_run_failed(tmp_path: Path) -> None:
    status = StatusWriter(tmp_path, enabled=False)
    status.write("STARTED", "begin")
    assert not status.path.exists()
    status.write("FAILURE", "cause", diagnosis=Diagnosis("code", "cause", "cure"))
    assert _lines(status.path)[0]["diagnosis"] == {"code": "code", "cause": "cause", "cure": "cure"}


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    metrics = MetricsWriter(tmp_path)
    metrics.write(1, 0.5, {"train/loss_avg": float("nan"), "train/mfu": None, "optimizer/lr": 1e-5})
    line = _lines(metrics.path)[0]
    assert (line["train/loss_avg"], line["train/mfu"], line["optimizer/lr"]) == (None, None, 1e-5)
    assert (line["step"], line["epoch"]) == (1, 0.5)
