"""The whole flow on a laptop CPU: data, a blocked request, base evaluation, training, evaluation, gaps, report."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tao_skill_bank import dispatch, gaps, video_fps, workflow
from tao_skill_bank.catalog import did_you_mean
from tao_skill_bank.contracts import Plan, Request, State
from tao_skill_bank.errors import JobFailedError, MissingExtraError, UnknownNameError
from tao_skill_bank.follow import follow
from tao_skill_bank.generate import to_text
from tao_skill_bank.jobs import JobHandle
from tao_skill_bank.report import write_report
from tao_skill_bank.run_directory import RunDirectory

MODEL = "builtin://tiny-cosmos-reason"
PROMISED_ACCURACY = 0.9
Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much a demo makes and trains."""

    train: int = 600
    val: int = 96
    test: int = 96
    epochs: int = 6


FULL, SMOKE = Size(), Size(train=32, val=16, test=16, epochs=1)


@dataclass
class Diary:
    """What the demo has done so far."""

    folder: Path
    say: Say
    started: float = field(default_factory=time.monotonic)
    runs: dict[str, RunDirectory] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    def note(self, line: str) -> None:
        self.say(f"[{time.monotonic() - self.started:5.0f} s] {line}")


def run(name: str, folder: Path, *, smoke: bool, say: Say) -> dict[str, Any]:
    """Run a demo and return its summary: accuracies, paths, seconds.

    Raises:
        UnknownNameError: no such demo.
        MissingExtraError: the training stack is not installed.
        JobFailedError: a job failed, or the tuned model stayed below the promised accuracy.
    """
    if name not in DEMOS:
        message = f"There is no demo '{name}'.{did_you_mean(name, DEMOS)}"
        raise UnknownNameError.of("unknown_demo", message, f"Use one of: {', '.join(DEMOS)}.", path="demo", got=name)
    return DEMOS[name](folder.absolute(), smoke, say)


def _reason(folder: Path, smoke: bool, say: Say) -> dict[str, Any]:
    size = SMOKE if smoke else FULL
    diary = Diary(folder / time.strftime("%Y%m%d-%H%M%S"), say)
    data = _sample_data(diary, size)
    _show_a_blocked_request(diary, data)
    variables = {"data": str(data), "model": MODEL, "epochs": str(size.epochs)}
    for step in workflow.load("train_evaluate", variables):
        _run_step(diary, step)
    summary = _summarise(diary, smoke)
    tuned = diary.accuracy["tuned evaluation"]
    if not smoke and tuned < PROMISED_ACCURACY:
        message = f"The tuned model reached {tuned:.1%} on the test split; {PROMISED_ACCURACY:.0%} was expected."
        raise JobFailedError.of("accuracy_below_promise", message, f"Read {summary['report']} and report it as a bug.")
    return summary


def _sample_data(diary: Diary, size: Size) -> Path:
    try:
        from tao_skill_bank.samples import vlm
    except ImportError as error:
        raise MissingExtraError.for_module(error.name or "numpy", "train") from None
    data = vlm.make(diary.folder / "data", train=size.train, val=size.val, test=size.test)
    diary.note(f"made {size.train} training, {size.val} validation and {size.test} test clips in {data}")
    return data


def _show_a_blocked_request(diary: Diary, data: Path) -> None:
    """Plan on a copy of the annotations without video_fps: preflight stops it and names the cure, which then works."""
    broken, fixed = diary.folder / "no-video-fps.json", diary.folder / "fixed-video-fps.json"
    records = json.loads((data / "train" / "annotations.json").read_text(encoding="utf-8"))
    broken.write_text(json.dumps([{k: v for k, v in record.items() if k != "video_fps"} for record in records]))
    blocked = _plan_on(broken, data).blocking
    if not blocked:
        raise AssertionError("a request without video_fps was not blocked")
    diary.note(f"a request without video_fps is blocked: {blocked[0].message}")
    diary.note(f"  fix: {blocked[0].fix}")
    video_fps.fix_video_fps(broken, fixed, data / "train")
    diary.note(f"  the corrected copy has {len(_plan_on(fixed, data).blocking)} blocking findings")


def _plan_on(annotation: Path, data: Path) -> Plan:
    overrides = {
        "policy.model_name_or_path": MODEL,
        "custom.train_dataset.annotation_path": str(annotation),
        "custom.train_dataset.media_path": str(data / "train"),
    }
    datasets: dict[str, Any] = {"eval": str(data / "val")}
    skill = "tao-finetune-cosmos-reason"
    return dispatch.plan(Request(skill, "train", automl_policy="off", datasets=datasets, overrides=overrides))


def _run_step(diary: Diary, step: workflow.Step) -> None:
    from rich.console import Console

    request = step.with_parent_job(diary.jobs)
    sealed = dispatch.plan(replace(request, results_dir=str(diary.folder / step.name.replace(" ", "-"))))
    diary.note(f"{step.name}: {sealed.route.kind} route, {sealed.route.reason}")
    handle = dispatch.run(sealed)
    status = follow(handle, Console(stderr=True))
    if status.state is not State.COMPLETE:
        fix = f"Find the cause with: tao-skills diagnose {handle.id}"
        message = f"{step.name} ended as {status.state}: {status.message}"
        raise JobFailedError.of("job_failed", message, fix, path=handle.id)
    _keep(diary, step.name, handle)


def _keep(diary: Diary, name: str, handle: JobHandle) -> None:
    diary.jobs[name], diary.runs[name] = handle.id, handle.run_directory
    accuracy = handle.result().metrics.get("accuracy")
    if accuracy is not None:
        diary.accuracy[name] = accuracy
        diary.note(f"{name}: accuracy {accuracy:.1%} on the test split")


def _summarise(diary: Diary, smoke: bool) -> dict[str, Any]:
    found = gaps.analyze(Path(diary.runs["tuned evaluation"].path), diary.folder / "gaps.parquet")
    diary.note(f"gaps: {found.gaps} of {found.records} test questions in {found.parquet}")
    page = write_report(diary.runs, diary.folder / "report.html")
    summary = {
        "report": str(page),
        "gaps": str(found.parquet),
        "accuracy": diary.accuracy,
        "jobs": diary.jobs,
        "seconds": round(time.monotonic() - diary.started, 1),
        "smoke": smoke,
        "python": sys.version.split()[0],
    }
    (diary.folder / "summary.json").write_text(to_text(summary), encoding="utf-8")
    diary.note("done; open the report:")
    return summary


DEMOS: dict[str, Callable[[Path, bool, Say], dict[str, Any]]] = {"reason": _reason}
