import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Job, Request, Workload, to_json
from tao_skill_bank.core import nested
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs.store import JobStore, new_job_id
from tao_skill_bank.planning import base_models, parents, planner
from tao_skill_bank.spec import build

SKILL = catalog.find("tao-finetune-cosmos-reason")
TINY = "builtin://tiny-cosmos-reason"
ADAPTER = {"model.model_name": "/runs/best", "model.enable_lora": True, "model.base_model_path": TINY}
SETTINGS = {"generation.max_tokens": 7, "vision.nframes": 3, "dataset.system_prompt": "Be brief.", **ADAPTER}
MODEL_KEYS = ("model.model_name", "model.enable_lora", "model.base_model_path")


def data(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps([{"id": name} for name in names]))
    return str(folder)


def evaluation(run: Path, request: Request) -> tuple[Job, list[Finding]]:
    """Return the job of an evaluation, and what it differs in from its parent."""
    inherited = parents.inherit(SKILL, request)
    built = build.build(SKILL, request, inherited.values)
    job_id = new_job_id("cosmos-rl", request.action)
    request = replace(request, results_dir=str(run))
    job = planner.assemble(SKILL, request, built, inherited, job_id, one_machine=True)
    return job, base_models.findings(SKILL, request, job, inherited.values)


def recorded(job: Job) -> Job:
    run = Path(job.results_dir)
    run.mkdir(exist_ok=True)
    (run / "plan.json").write_text(json.dumps(to_json(make_plan(job))))
    JobStore().create(make_record(job))
    return job


@pytest.fixture
def parent(tmp_path: Path) -> Job:
    """An evaluation of an adapter on three records."""
    request = Request(
        SKILL.name, "evaluate", datasets={"eval": data(tmp_path / "data", "a", "b", "c")}, overrides=SETTINGS
    )
    return recorded(evaluation(tmp_path / "parent", request)[0])


def base_of(parent: Job, tmp_path: Path, **fields: Any) -> tuple[Job, list[Finding]]:
    request = Request(SKILL.name, "evaluate", parent_job_id=parent.id, base=True, **fields)
    return evaluation(tmp_path / "base", request)


def test_the_base_of_an_evaluation_is_measured_as_the_evaluation_was(parent: Job, tmp_path: Path) -> None:
    job, found = base_of(parent, tmp_path)
    assert found == []
    assert [nested.get(job.spec, key) for key in MODEL_KEYS] == [TINY, False, ""]
    expected = nested.without(nested.without(parent.spec, "results_dir"), "model")
    assert nested.without(nested.without(job.spec, "results_dir"), "model") == expected
    assert job.workload.inputs == parent.workload.inputs


def test_the_base_of_a_training_is_what_it_started_from_with_its_view_of_clips(tmp_path: Path) -> None:
    training = recorded(make_job(tmp_path / "training"))
    job, found = base_of(training, tmp_path, datasets={"eval": data(tmp_path / "data", "a")})
    assert found == []
    assert [nested.get(job.spec, key) for key in MODEL_KEYS] == [TINY, False, ""]
    assert nested.get(job.spec, "vision.nframes") == 8
    assert nested.get(job.spec, "dataset.system_prompt") == "Be brief."


def test_the_base_of_a_complete_checkpoint_is_that_of_its_training(parent: Job, tmp_path: Path) -> None:
    training = recorded(make_job(tmp_path / "training"))
    full = replace(
        parent,
        id=new_job_id("cosmos-rl", "evaluate"),
        results_dir=str(tmp_path / "full"),
        workload=replace(parent.workload, model="/runs/best", base_model=None),
        parent_job_id=training.id,
    )
    assert nested.get(base_of(recorded(full), tmp_path)[0].spec, "model.model_name") == TINY
    orphan = replace(full, id=new_job_id("cosmos-rl", "evaluate"), parent_job_id=None)
    with pytest.raises(RequestError) as caught:
        base_of(recorded(replace(orphan, results_dir=str(tmp_path / "orphan"))), tmp_path)
    assert caught.value.problems[0].code == "base_unknown"


@pytest.mark.parametrize(
    ("names", "limit", "lacking"),
    [
        (("a", "b", "c", "d"), None, 0),
        (("a", "c"), None, 1),
        (("x", "y"), None, 3),
        (("a", "b", "c"), 2, 1),
    ],
)
def test_data_that_lacks_the_parents_records_is_refused(
    parent: Job, tmp_path: Path, names: tuple[str, ...], limit: int | None, lacking: int
) -> None:
    overrides = {"evaluation.limit": limit} if limit else {}
    _, found = base_of(parent, tmp_path, datasets={"eval": data(tmp_path / "other", *names)}, overrides=overrides)
    blocked = [finding for finding in found if finding.severity == "blocking"]
    assert [finding.evidence for finding in blocked] == ([{"lacking": lacking, "measured": 3}] if lacking else [])
    assert all("Leave --eval and the limit out" in finding.fix for finding in blocked)


def test_data_that_cannot_be_read_here_is_not_checked(parent: Job, tmp_path: Path) -> None:
    _, found = base_of(parent, tmp_path, datasets={"eval": str(tmp_path / "nowhere")})
    assert [(finding.code, finding.severity) for finding in found] == [("base_records_not_compared", "not_checked")]


def test_other_settings_are_named_with_those_of_the_parent(parent: Job, tmp_path: Path) -> None:
    changed = {"generation.max_tokens": 9, "vision.nframes": None, "vision.fps": 1.0}
    _, (finding,) = base_of(parent, tmp_path, overrides=changed)
    assert (finding.code, finding.severity) == ("base_settings_differ", "warning")
    assert finding.fix_set == {"generation.max_tokens": 7, "vision.nframes": 3, "vision.fps": None}
    assert base_of(parent, tmp_path, overrides={**changed, **finding.fix_set})[1] == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"base": True}, "base_without_parent"),
        ({"base": True, "parent_job_id": "PARENT", "checkpoint": "epoch_1"}, "base_and_checkpoint"),
        ({"base": True, "parent_job_id": "PARENT", "action": "train"}, "no_base"),
    ],
)
def test_a_base_that_nothing_has_is_refused(parent: Job, fields: dict[str, Any], code: str) -> None:
    values = {"action": "evaluate", **fields}
    if "parent_job_id" in values:
        values["parent_job_id"] = parent.id
    with pytest.raises(RequestError) as caught:
        parents.inherit(SKILL, Request(SKILL.name, **values))
    assert caught.value.problems[0].code == code
    assert caught.value.problems[0].fix


def test_a_request_without_the_flag_is_written_as_before(parent: Job) -> None:
    assert "base" not in to_json(Request(SKILL.name, "evaluate"))
    assert to_json(Request(SKILL.name, "evaluate", base=True))["base"] is True
    assert "limit" not in to_json(Workload())
    assert "max_steps" not in to_json(Workload())
