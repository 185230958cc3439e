"""The folder of a search: what may run there and which command leads on."""

import json
import shlex

import pytest
from runs import make_record
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import Request, State, to_json
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch

pytestmark = pytest.mark.usefixtures("third_skill")


def request(folder, **changes):
    values = {"automl": {"max_trials": 1}, "results_dir": str(folder), **changes}
    return Request("toy", "train", **values)


@pytest.fixture
def searched(tmp_path):
    """Return a search's run directory after its controller ended, in the state that the record says."""

    def make(state, err_class=None):
        folder = tmp_path / "run"
        plan = dispatch.plan(request(folder))
        (folder / "trials" / "trial_0000").mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps(to_json(plan)))
        (folder / "study.db").write_text("x")
        changes = {"terminal_state": state if state.is_terminal else None, "err_class": err_class}
        record = make_record(plan.job, **changes)
        moved = (*record.transitions, type(record.transitions[0])(record.submitted_at, state))
        JobStore().create(type(record)(**{**vars(record), "transitions": moved}))
        return folder, plan

    return make


@pytest.mark.parametrize("state", [State.COMPLETE, State.ERROR, State.CANCELED])
@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize("policy", ["off", "auto"])
def test_nothing_else_runs_in_the_folder_of_a_search(searched, state, resumes, policy):
    folder, search = searched(state)
    before = sorted(path.name for path in folder.iterdir())
    overrides = {"train.resume": True} if resumes else {}
    planned = dispatch.plan(request(folder, overrides=overrides, automl_policy=policy))
    if resumes:
        assert [found.code for found in planned.blocking] == ["results_dir_of_search"]
        return
    with pytest.raises(ConflictError) as error:
        dispatch.run(planned)
    (problem,) = error.value.problems
    assert problem.code == "results_dir_of_search"
    verbs = ("automl best", "plan tao-finetune-toy train --parent") if state is State.COMPLETE else ("automl resume",)
    assert all(f"tao-skills {verb} " in problem.fix for verb in verbs)
    assert search.job.id in problem.fix
    assert "train.resume" not in problem.fix
    assert sorted(path.name for path in folder.iterdir()) == before
    assert len(JobStore().all()) == 1


def test_a_search_that_would_fail_again_names_its_diagnosis(searched):
    folder, search = searched(State.ERROR, "ERR_PROGRAM")
    with pytest.raises(ConflictError) as error:
        dispatch.run(dispatch.plan(request(folder)))
    assert error.value.problems[0].fix.endswith(f"tao-skills diagnose {search.job.id}")


def test_a_search_does_not_start_in_the_folder_of_a_training(tmp_path):
    plain = dispatch.run(dispatch.plan(request(tmp_path / "run", automl={}, automl_policy="off")))
    assert plain.wait(60).state is State.COMPLETE
    searching = dispatch.plan(request(tmp_path / "run", overrides={"train.resume": True, "train.epoch": 6}))
    with pytest.raises(ConflictError, match="which is not a search"):
        dispatch.run(searching)
    assert service.status(plain.id).state is State.COMPLETE
    again = request(
        tmp_path / "run", automl_policy="off", automl={}, overrides={"train.resume": True, "train.epoch": 6}
    )
    assert dispatch.run(dispatch.plan(again)).wait(60).state is State.COMPLETE


@pytest.mark.slow
def test_the_commands_of_the_refusal_lead_on_and_leave_the_first_study_whole(tmp_path):
    folder = tmp_path / "run"
    search = dispatch.run(dispatch.plan(request(folder, automl={"max_trials": 2})))
    assert search.wait(120).state is State.COMPLETE
    study = (folder / "study.db").read_bytes()
    words = ["run", "toy", "train", "--set", "train.resume=true", "--results-dir", str(folder), "--json"]
    refused = json.loads(CliRunner().invoke(app, words).stdout or "{}")
    assert refused == {} or not refused["ok"]
    assert (folder / "study.db").read_bytes() == study
    with pytest.raises(ConflictError) as error:
        dispatch.run(dispatch.plan(request(folder)))
    for command in [part.split(".")[0] for part in error.value.problems[0].fix.split("tao-skills ")[1:]]:
        shown = CliRunner().invoke(app, shlex.split(command))
        assert shown.exit_code in (0, 3), (command, shown.output)  # 3: every epoch of the request is trained
    (best,) = {path.resolve() for path in [folder / "best_trial"]}
    other = next(path for path in (folder / "trials").iterdir() if path != best)
    assert (best / "checkpoints" / "epoch_4").is_dir()
    assert not list((other / "checkpoints").iterdir())
