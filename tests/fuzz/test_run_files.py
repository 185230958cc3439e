"""Hostile run files, records, plans, annotations and adapters: findings or named gaps, never a traceback."""

import json
import os
import shutil
import struct
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import pytest
from hostile_input import content, guarded, inputs, put
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from runs import make_job, make_plan, make_record

from tao_skill_bank import report
from tao_skill_bank.contracts import Input, State, Workload, to_json
from tao_skill_bank.data import record_findings
from tao_skill_bank.data.scan import Options, scan
from tao_skill_bank.jobs import diagnose, events, follow, service
from tao_skill_bank.planning import parents, planner
from tao_skill_bank.runs import gaps, plan_versions, results
from tao_skill_bank.runs.run_directory import RunDirectory, masked_json
from tao_skill_bank.weights import adapter_base, model_folders, safetensors_files

profile = settings.get_profile("hostile")
STATUS = [
    {
        "time": "2026-01-01T00:00:00+00:00",
        "state": "STARTED",
        "step": 0,
        "total": 4,
        "eta_seconds": None,
        "message": "a",
    },
    {
        "time": "2026-01-01T00:01:00+00:00",
        "state": "RUNNING",
        "step": 2,
        "total": 4,
        "eta_seconds": 9.5,
        "message": "b",
    },
    {
        "time": "2026-01-01T00:02:00+00:00",
        "state": "FAILURE",
        "step": 2,
        "total": 4,
        "message": "c",
        "diagnosis": {"code": "x", "cause": "y", "cure": "z"},
    },
]
METRICS = [{"time": "2026-01-01T00:00:00+00:00", "step": step, "epoch": 0.5, "train/loss_avg": 1.0} for step in (1, 2)]
SUMMARY = {
    "kind": "answers",
    "task": "direction",
    "num_samples": 2,
    "metrics": {"accuracy": 0.5, "f1": None},
    "not_computed": {"f1": "one class"},
    "per_class": {"left": {"precision": 1.0, "recall": 0.5, "f1": 0.6, "support": 2}},
    "confusion_matrix": {"labels": ["left", "right"], "matrix": [[1, 1], [0, 0]]},
    "units": {"f1": "%"},
    "intervals": {"accuracy": {"low": 0.1, "high": 0.9, "level": 0.95, "method": "wilson"}},
    "calibration": {"ece": 0.1, "bins": [{"low": 0.0, "high": 0.5, "count": 1, "confidence": 0.4, "accuracy": 1.0}]},
    "findings": [{"code": "few", "severity": "warning", "message": "few samples", "fix": "more", "path": ""}],
}
RESULTS = {
    "kind": "answers",
    "entries": [
        {"video_id": "v/0.mp4", "question": "which?", "gt": "left", "response": "left", "confidence": 0.5},
        {"video_id": "v/1.mp4", "question": "which?", "gt": "left", "response": "right", "confidence": 0.25},
    ],
}
BEST = {
    "best_score": 0.5,
    "metric": "accuracy",
    "direction": "maximize",
    "best_ckpt_abs_dir": "/run/checkpoints/epoch_1",
}
DOCUMENTS = {
    "metrics_summary.json": SUMMARY,
    "results.json": RESULTS,
    "best/best_score.json": BEST,
    "result.json": {"state": "ERROR"},
    "skipped_records.json": [{"index": 0, "code": "x", "message": "y", "path": "z"}],
    "logs/upload.json": {"job_id": "x"},
    "exit/rank_0.json": {"rank": 0, "exit_code": 1, "error": "y"},
    "request.json": {"skill": "x"},
    "plan.json": {},
}
LINES = {"status.jsonl": STATUS, "metrics.jsonl": METRICS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def plan(folder):
    """Return the plan of an evaluation, as a run directory keeps it."""
    workload = Workload(
        "builtin://tiny-cosmos-reason",
        inputs=(Input("eval", "annotations", {"annotation_path": "/data/a.json", "media_path": "/data"}),),
    )
    return make_plan(make_job(folder / "run", action="evaluate", workload=workload))


def fresh(folder, plan):
    """Return a new run directory with everything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, document in {**DOCUMENTS, "plan.json": to_json(plan), "request.json": to_json(plan.request)}.items():
        put(folder / name, json.dumps(document).encode())
    for name, lines in LINES.items():
        put(folder / name, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    put(folder / "logs" / "job.log", b"Traceback\nValueError: x\n")
    return RunDirectory(folder)


@pytest.fixture
def _no_charts(monkeypatch):
    """Draw nothing: a chart takes a second, and draws numbers that were checked before."""
    monkeypatch.setattr(report.charts, "is_available", lambda: False)
    monkeypatch.setattr(report, "_environment", cache(report._environment))


def read_everything(run):
    """Do what status, watch, report and diagnose do with a run directory."""
    result = results.read(run)
    masked_json(to_json(result))
    with suppress(OSError):  # a folder in the place of result.json
        results.write(run, result)
    handle = SimpleNamespace(status=lambda: service.JobStatus("x", State.ERROR, progress=run.last_status()))
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        follow._show_lines(follow._moments(handle, run, None), Console(file=nowhere), 0)
    diagnose.diagnose_job(make_record(make_job(run.path, id="cosmos-rl-train-0123456789ab")))
    report.write_report({"": run}, run.path / "report.html")


@pytest.mark.usefixtures("_no_charts")
@settings(profile, max_examples=inputs(0.08))
@given(data=st.data())
def test_a_hostile_document_in_a_run_directory_is_a_gap_of_it(folder, plan, data):
    name = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    document = {"plan.json": to_json(plan), "request.json": to_json(plan.request)}.get(name, DOCUMENTS[name])
    run = fresh(folder / "run", plan)
    put(folder / "run" / name, data.draw(content(document)))
    with guarded():
        read_everything(run)


@pytest.mark.usefixtures("_no_charts")
@settings(profile, max_examples=inputs(0.08))
@given(data=st.data())
def test_hostile_lines_in_a_run_directory_are_gaps_of_it(folder, plan, data):
    name = data.draw(st.sampled_from(sorted(LINES)))
    run = fresh(folder / "run", plan)
    lines = [data.draw(content(line)) for line in LINES[name]]
    put(folder / "run" / name, None if lines[0] is None else b"\n".join(line or b"" for line in lines))
    with guarded():
        read_everything(run)


@settings(profile, max_examples=inputs(0.05))
@given(data=st.data())
def test_a_hostile_record_never_hides_the_other_jobs(folder, plan, data, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(folder / "state"))
    shutil.rmtree(folder / "state", ignore_errors=True)
    good = make_record(make_job(folder / "good"))
    service.JobStore().create(good)
    service.JobStore().transition(good.id, service._moved(State.COMPLETE, "done", "test"))
    record = to_json(make_record(make_job(folder / "run", id="cosmos-rl-train-0123456789ab")))
    record["platform"] = data.draw(st.sampled_from(("local", "mars")))
    put(folder / "state" / "jobs" / f"{record['id']}.json", data.draw(content(record)))
    put(folder / "state" / "jobs" / ".live" / record["id"], b"")
    fresh(folder / "run", plan)
    with guarded():
        records, problems = service.look()
        shown = {each.id for each in records} | {each.path for each in problems}
        assert shown == {good.id, record["id"]}
    with guarded():
        found = next(events.events([record["id"], good.id]))
        assert found.text
    with guarded():
        service.status(record["id"])


@settings(profile, max_examples=inputs(0.06))
@given(data=st.data())
def test_a_hostile_plan_is_refused_with_a_fix(folder, plan, data):
    path = folder / "plan.json"
    put(path, data.draw(content(to_json(plan))))
    for reader in (planner.read, plan_versions.read_launched):
        with guarded():
            reader(path)
    version_1 = {**to_json(plan), "schema_version": 1}
    put(path, data.draw(content(version_1)))
    with guarded():
        plan_versions.read_launched(path)


@settings(profile, max_examples=inputs(0.04))
@given(data=content(RESULTS["entries"]))
def test_the_gap_analysis_refuses_hostile_results_with_a_fix(folder, plan, data):
    run = fresh(folder / "gaps", plan)
    put(run.path / "results.json", data)
    with guarded():
        gaps.analyze(run.path, run.path / "gaps.parquet")


@settings(profile, max_examples=inputs(0.1))
@given(data=st.data())
def test_hostile_annotations_are_findings(folder, data):
    record = {
        "id": "0",
        "video": "v/0.mp4",
        "video_fps": 4.0,
        "conversations": [{"from": "human", "value": "<video>\nwhich?"}, {"from": "gpt", "value": "left"}],
    }
    (folder / "data").mkdir(exist_ok=True)
    path = folder / "data" / "annotations.json"
    put(path, data.draw(content([record, record])))
    given_ = Input("train", "annotations", {"annotation_path": str(path), "media_path": str(path.parent)})
    with guarded():
        found = record_findings.check(scan(given_, (), 8, Options()))
        json.dumps([to_json(each) for each in found])


@settings(profile, max_examples=inputs(0.09))
@given(data=st.data())
def test_hostile_files_of_an_adapter_and_a_model_are_findings(folder, data):
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    path = folder / "adapter"
    config = {
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"q": 4},
        "base_model_name_or_path": "/base",
        "target_modules": ["q"],
    }
    header = {
        "__metadata__": {"format": "pt"},
        "base_model.model.q.lora_A.weight": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]},
        "base_model.model.q.lora_B.weight": {"dtype": "F32", "shape": [8, 4], "data_offsets": [128, 256]},
    }
    files = {
        "adapter_config.json": config,
        "base_model.json": {"path": "/base", "fingerprint": "x", "part": "y"},
        "config.json": {"model_type": "x"},
        "model_index.json": {"_class_name": "x", "unet": ["a", "b"]},
        "model.safetensors.index.json": {"weight_map": {"a": "adapter_model.safetensors"}},
    }
    hostile = data.draw(st.sampled_from((*sorted(files), "header")))
    for name, document in files.items():
        put(path / name, data.draw(content(document)) if name == hostile else json.dumps(document).encode())
    text = (data.draw(content(header)) if hostile == "header" else None) or json.dumps(header).encode()
    length = data.draw(st.sampled_from((len(text), len(text), len(text), 0, 2**62, 2**64 - 1)))
    put(path / "adapter_model.safetensors", struct.pack("<Q", length) + text + bytes(256))
    with guarded():
        adapter_base.check(str(path), "builtin://tiny-cosmos-reason")
    with guarded():
        safetensors_files.fingerprint(path)
        model_folders.is_complete(path)
        parents._is_complete(path)
