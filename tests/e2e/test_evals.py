"""The evals of the skills, replayed: what an agent runs that follows a skill ends in the state that the eval wants."""

import io
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import replays
from replay_worlds import Worlds, built

from tao_skill_bank.cli import main
from tao_skill_bank.samples import robot
from tao_skill_bank.staging import fetch

EVALS = replays.evals()


@pytest.fixture(scope="session")
def samples(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample data of both models, small."""
    clips = robot.make(tmp_path_factory.mktemp("samples") / "robot", train=6, val=3, test=3)
    return {"vlm": sample_data, "robot": clips}


@pytest.fixture(scope="session")
def reason_model(shared: Path) -> Path:
    """The embedded Cosmos-Reason model."""
    return fetch.fetch("builtin://tiny-cosmos-reason", shared / "builtin" / "tiny-cosmos-reason")


def _call(words: list[str]) -> tuple[int, str]:
    """Run a command in this process, as the program does; return its exit code and all that it printed."""
    printed = io.StringIO()
    sys.argv[1:] = words  # what the command repeats in its next commands
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        main.main(words)
    return int(ended.value.code or 0), printed.getvalue()


@pytest.mark.parametrize("found", EVALS, ids=str)
def test_a_replayed_eval_ends_as_it_should(found, samples, reason_model, tmp_path, state_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tao-skills"])
    worlds = Worlds(tmp_path, state_dir, monkeypatch, {**samples, "model": reason_model})
    with built(worlds, found.replay["world"]) as world:
        replays.note_jobs_before(state_dir)
        before = replays.fingerprint(tmp_path / "DATA")
        printed = replays.play(found.replay, world, _call)
        replays.check_end(found.replay.get("end", {}), world, state_dir, before, printed)


def test_every_skill_that_launches_has_replayed_evals():
    launching = {path.parts[-3] for path in replays.SKILLS.glob("*/evals/evals.json")}
    assert {found.skill for found in EVALS} == launching


def test_a_replay_fails_when_its_end_differs(samples, tmp_path, state_dir, monkeypatch):
    world = Worlds(tmp_path, state_dir, monkeypatch, samples).build(["clips"])
    before = replays.fingerprint(tmp_path / "DATA")
    shutil.rmtree(tmp_path / "DATA" / "val")
    with pytest.raises(AssertionError, match="data was changed"):
        replays.check_end({}, world, state_dir, before, 0)
    with pytest.raises(AssertionError):
        replays.check_end({"jobs": {"PENDING": 1}, "unchanged": False}, world, state_dir, before, 0)
    with pytest.raises(AssertionError, match="ended with"):
        replays.play({"steps": [{"run": "tao-skills status no-such-job"}]}, world, _call)
