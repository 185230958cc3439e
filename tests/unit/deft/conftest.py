"""A DEFT run as its log and its folders hold it, without the jobs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_runs import write

from tao_skill_bank.workflows.declaration import Limits
from tao_skill_bank.workflows.limits import Spent
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.sealing import SealedWorkflow
from tao_skill_bank.workflows.standing import RunState, Standing

GAIN = {"gain": 0.5, "ci_low": 0.4, "ci_high": 0.6, "newly_right": 12, "newly_wrong": 2, "questions": 20}


def evaluation(folder: Path, verdicts: list[str]) -> None:
    """Write the results of an evaluation."""
    entries = [
        {"video_id": f"{number}.mp4", "question": "?", "response": "x", "gt": "y", "verdict": verdict}
        for number, verdict in enumerate(verdicts)
    ]
    write(folder / "results.json", entries)
    write(folder / "metrics_summary.json", {"kind": "answers", "metrics": {"accuracy": 0.5}, "num_samples": 20})


@pytest.fixture
def job_event(tmp_path: Path) -> Callable[..., Event]:
    def make(step: str, iteration: int = 0, verdicts: list[str] | None = None, **outputs: Any) -> Event:
        folder = tmp_path / f"{step}-{iteration}".replace(" ", "-")
        folder.mkdir()
        if verdicts:
            evaluation(folder, verdicts)
        job = f"job-{step}-{iteration}".replace(" ", "-")
        given = {"job": job, "folder": str(folder), **outputs}
        return Event(step, "ok", iteration, outputs=given, job=job, folder=str(folder))

    return make


@pytest.fixture
def round_of(tmp_path: Path, job_event: Callable[..., Event]) -> Callable[..., list[Event]]:
    """Return the events of a round with four gaps, of which the training fixes the first two."""

    def make(number: int, outcome: str, training: str | None) -> list[Event]:
        gaps = tmp_path / f"kpi_gaps-{number}.jsonl"
        rows = [
            {"video_id": f"/kpi/{index}.mp4", "question": "?", "ground_truth": "left", "response": "right"}
            for index in range(4)
        ]
        gaps.write_text("".join(json.dumps(row) + "\n" for row in rows))
        summary = tmp_path / f"mined-{number}.json"
        found_by = [{"filepath": f"/kpi/{index}.mp4", "question": "?", "distance": 0.1 + index} for index in (0, 3)]
        summary.write_text(json.dumps({"clips": [{"path": "/pool/good.mp4", "found_by": found_by}]}))
        decision = {**GAIN, "outcome": outcome, "training": training, "score": 0.9, "evaluation": "e"}
        return [
            Event("gaps", "ok", number, outputs={"count": 4, "kpi_gaps": str(gaps)}),
            Event("mined", "ok", number, outputs={"rows": 8, "summary": str(summary)}),
            Event("added", "ok", number, outputs={"taken": {"mined": 8}}),
            Event("merged", "ok", number, outputs={"rows": 28, "taken": {"old": 20, "added": 8}}),
            job_event("training", number),
            job_event("tuned", number, ["right"] * 2 + ["wrong"] * 2, metrics={"accuracy": 0.9}),
            Event("decision", "ok", number, outputs=decision),
        ]

    return make


@pytest.fixture
def standing_of(tmp_path: Path) -> Callable[..., Standing]:
    def make(*events: Event, state: RunState = "COMPLETE", summary: str = "every step is done") -> Standing:
        sealed = SealedWorkflow("deft", "deft.yaml", {}, {}, Limits(gpu_hours=4.0), str(tmp_path))
        return Standing(sealed, tmp_path, state, summary, tuple(events), (), Spent(1.25, 0.5, 36), ())

    return make
