"""Which checkpoints are left once a search has ended."""

import json
from dataclasses import replace

import pytest
from runs import make_job, make_record
from search_trials import add_recipe, add_trial, make_search

from tao_skill_bank.automl.plan import study
from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import TrialJob
from tao_skill_bank.automl.run import cleanup
from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.contracts import Request, State, from_json, to_json
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import masked_json

pytestmark = pytest.mark.usefixtures("third_skill")
BEST, PAUSED, PARENT, READ, GIVEN, LOST = range(6)


def save(search, number):
    """Give a trial what a real training leaves."""
    folder = search.folder(number)
    for path in ("checkpoints/epoch_1", "checkpoints/step_7", "safetensors/epoch_1", "best"):
        (folder / path).mkdir(parents=True)
        (folder / path / "model.safetensors").touch()
    (folder / "best" / "best_score.json").write_text("{}")
    (folder / "metrics.jsonl").touch()


def kept(search):
    return [
        number
        for number in range(len(search.storage.entries()))
        if (search.folder(number) / "checkpoints" / "epoch_1" / "model.safetensors").exists()
    ]


def entries_of(search):
    """Return the trials, each with a job."""
    entries = search.storage.entries()
    return [replace(entry, jobs=(TrialJob(f"toy-train-{entry.number}", "train", "", None),)) for entry in entries]


@pytest.fixture
def ended(tmp_path):
    """A search that has ended: its trials are best, paused, a parent of another, a parent of a job, read, and none."""

    def make(**automl):
        search = make_search(tmp_path / "run", algorithm="asha", max_trials=9, **automl)
        add_recipe(search, 0.1)
        add_trial(search, 1e-3, 3, 0.5, state=TrialState.PRUNED)
        add_trial(search, 2e-3, 3, 0.6)
        add_trial(search, 3e-3, 3, 0.7)
        add_trial(search, 4e-3, 3, 0.8, parent=PARENT)
        add_trial(search, 5e-3, 3, 0.9, state=TrialState.PRUNED, why="It diverged.")
        for entry in search.storage.entries():
            save(search, entry.number)
        outside = make_record(make_job(tmp_path / "evaluation"), parent_job=f"toy-train-{GIVEN}")
        inside = make_record(make_job(search.folder(LOST) / "evaluation_1"), parent_job=f"toy-train-{LOST}")
        reader = make_record(make_job(tmp_path / "reader"))
        for record in (outside, inside, reader):
            JobStore().create(record)
        (tmp_path / "reader").mkdir()
        workload = {"resume_from": str(search.folder(READ) / "checkpoints" / "epoch_1")}
        plan = {"schema_version": 2, "job": {"id": reader.id, "workload": workload}}
        (tmp_path / "reader" / "plan.json").write_text(masked_json(plan))
        return search

    return make


def test_what_is_best_paused_or_a_parent_stays_and_the_rest_is_removed(ended):
    search = ended()
    entries = entries_of(search)
    assert cleanup.remove_unused(search, entries, best_of(entries)) == 3
    assert kept(search) == [BEST, PAUSED, PARENT, READ, GIVEN]
    left = {path.relative_to(search.folder(LOST)).as_posix() for path in search.folder(LOST).rglob("*")}
    assert {"metrics.jsonl", "best/best_score.json", "checkpoints_removed.json"} <= left
    assert not [path for path in left if path.endswith(".safetensors")]
    assert cleanup.remove_unused(search, entries, best_of(entries)) == 0, "once more changes nothing"


@pytest.mark.parametrize("how", ["asked for", "planned by an earlier release"])
def test_everything_stays_where_it_is_asked_for_and_in_searches_planned_earlier(ended, how):
    search = ended(**({"keep_trials": "all"} if how == "asked for" else {}))
    if how != "asked for":
        document = to_json(search.study)
        assert document["options"].pop("keep_trials") == "best"
        earlier = from_json(study.Study, document, "a plan")
        assert study.fingerprint(earlier) == study.fingerprint(search.study), "its study is still its own"
        search = type(search)(search.plan, earlier, search.storage)
    entries = entries_of(search)
    assert cleanup.remove_unused(search, entries, best_of(entries)) == 0
    assert kept(search) == list(range(6))


def test_a_parent_whose_checkpoints_were_removed_says_so(ended):
    search = ended()
    entries = entries_of(search)
    cleanup.remove_unused(search, entries, best_of(entries))
    folder = search.folder(LOST)
    job = replace(search.plan.job, results_dir=str(folder))
    plan = replace(search.plan, job=job, study=None)
    plan = replace(plan, sha256=plan_versions.digest(to_json(plan)))
    (folder / "plan.json").write_text(json.dumps(to_json(plan)))
    record = make_record(job, terminal_state=State.COMPLETE, plan_sha256=plan.sha256)
    JobStore().create(record)
    with pytest.raises(UnknownNameError, match="removed the checkpoints of this one") as error:
        dispatch.plan(Request("toy", "train", parent_job_id=record.id, automl_policy="off"))
    assert error.value.problems[0].code == "checkpoint_removed"
