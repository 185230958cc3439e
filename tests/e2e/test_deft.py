"""The DEFT loop with real parts: tiny model, clips, embeddings, mining, training, evaluation, report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.jobs.store import JobStore

CommandLine = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.slow
def test_the_smoke_demo_goes_through_a_round_and_says_what_came_of_it(
    command_line: CommandLine, tmp_path: Path
) -> None:
    code, summary = command_line("demo", "deft", "--smoke", "--out", tmp_path / "demo")
    assert code == 0, summary["errors"]
    assert all(JobStore().read(job).state == "COMPLETE" for job in summary["jobs"].values())
    run = Path(summary["report"]).parent
    assert summary["sentence"] in Path(summary["report"]).read_text(encoding="utf-8")

    code, status = command_line("deft", "status", run)
    assert (code, status["state"]) == (0, "COMPLETE")
    done = {step["step"]: step["outputs"] for step in status["steps"] if step["status"] == "ok"}
    gaps = [json.loads(line) for line in Path(done["gaps"]["kpi_gaps"]).read_text().splitlines()]
    assert len(gaps) == done["gaps"]["count"] > 0
    mined = json.loads(Path(done["mined"]["annotations"]).read_text())
    truths = {gap["ground_truth"] for gap in gaps}
    assert {record["conversations"][-1]["value"] for record in mined} <= truths  # of the same class, as the demo asks
    assert done["merged"]["taken"]["added"] == len(mined) == done["mined"]["rows"]
    assert done["training"]["steps"] > 0
    assert done["decision"]["outcome"] in ("improved", "target_met", "no_gain", "regression")
    is_better = done["decision"]["training"] is not None
    assert ("tuned on test" in done) is is_better

    again = command_line("deft", "resume", run)
    assert again[0] == 0
    assert {step["job"] for step in again[1]["steps"]} == {step["job"] for step in status["steps"]}
