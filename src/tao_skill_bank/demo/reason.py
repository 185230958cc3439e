"""Video question answering: data, a blocked request, base evaluation, training, evaluation, gaps, report."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Plan, Request
from tao_skill_bank.data import video_fps
from tao_skill_bank.demo._session import DemoSession
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.planning import dispatch
from tao_skill_bank.report import write_report
from tao_skill_bank.runs import gaps
from tao_skill_bank.runs.results import Result

MODEL = "builtin://tiny-cosmos-reason"
PROMISED_ACCURACY = 0.9


@dataclass(frozen=True)
class Size:
    """Sizes of the demo's data and training."""

    train: int = 600
    val: int = 96
    test: int = 96
    epochs: int = 6


FULL, SMOKE = Size(), Size(train=32, val=16, test=16, epochs=1)


def run(folder: Path, *, smoke: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the demo and return its summary. Raises JobFailedError when the tuned model misses its expected accuracy."""
    size = SMOKE if smoke else FULL
    session = DemoSession.begin(folder, say)
    data = session.make_samples("vlm", train=size.train, val=size.val, test=size.test)
    _show_a_blocked_request(session, data)
    accuracy: dict[str, float] = {}

    def note(step: str, result: Result) -> None:
        found = result.metrics.get("accuracy")
        if found is not None:
            accuracy[step] = found
            session.note(f"{step}: accuracy {found:.1%} on the test split")

    session.run_workflow("train_evaluate", {"data": str(data), "model": MODEL, "epochs": size.epochs}, note)
    wrong = gaps.analyze(Path(session.runs["tuned evaluation"].path), session.folder / "gaps.parquet")
    session.note(f"gaps: {wrong.gaps} of {wrong.records} test questions in {wrong.parquet}")
    page = write_report(session.runs, session.folder / "report.html")
    summary = session.summarise(smoke=smoke, report=str(page), gaps=str(wrong.parquet), accuracy=accuracy)
    tuned = accuracy["tuned evaluation"]
    if not smoke and tuned < PROMISED_ACCURACY:
        message = f"The tuned model reached {tuned:.1%} on the test split; {PROMISED_ACCURACY:.0%} was expected."
        raise JobFailedError.of("accuracy_below_promise", message, f"Read {page} and report it as a bug.")
    session.note("every job is COMPLETE; open the report:")
    return summary


def _show_a_blocked_request(session: DemoSession, data: Path) -> None:
    """Plan on a copy of the annotations without video_fps: preflight blocks it and names the fix, which then works."""
    broken, fixed = session.folder / "no-video-fps.json", session.folder / "fixed-video-fps.json"
    records = json.loads((data / "train" / "annotations.json").read_text(encoding="utf-8"))
    broken.write_text(json.dumps([{k: v for k, v in record.items() if k != "video_fps"} for record in records]))
    blocked = _plan_on(broken, data).blocking
    if not blocked:
        raise AssertionError("a request without video_fps was not blocked")
    session.note(f"a request without video_fps is blocked: {blocked[0].message}")
    session.note(f"  fix: {blocked[0].fix}")
    video_fps.fix_video_fps(broken, fixed, data / "train")
    session.note(f"  the corrected copy has {len(_plan_on(fixed, data).blocking)} blocking findings")


def _plan_on(annotation: Path, data: Path) -> Plan:
    overrides = {
        "policy.model_name_or_path": MODEL,
        "custom.train_dataset.annotation_path": str(annotation),
        "custom.train_dataset.media_path": str(data / "train"),
    }
    datasets: dict[str, Any] = {"eval": str(data / "val")}
    skill = "tao-finetune-cosmos-reason"
    return dispatch.plan(Request(skill, "train", automl_policy="off", datasets=datasets, overrides=overrides))
