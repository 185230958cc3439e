"""What a blocked plan shows of its launch, and that nothing launches it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from runs import make_job, make_plan
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import Finding, Plan, PlatformRequest, Request, Resources, Route
from tao_skill_bank.errors import BlockedError, TaoSkillsError
from tao_skill_bank.planning import dispatch, launches, planner
from tao_skill_bank.platforms import base
from tao_skill_bank.preflight.machine import hardware

BLOCKED = Finding("data_missing", "blocking", "The data are missing.", "Give others.", "datasets.train")
OPTIONS = {
    "docker": {},
    "kubernetes": {"claim": "data", "claim_path": "/shared"},
    "local": {},
    "slurm": {"python": "/shared/venv/bin/python"},
}


def drafted(platform: str, *findings: Finding, **changes: object) -> Plan:
    """Return a plan before its launch is rendered, of a job on the default of a platform."""
    job = make_job(
        "/shared/a run",
        id="cosmos-rl-train-0123456789ab",
        module="tao_skill_bank.training.x",
        image="registry/image:1",
        platform=PlatformRequest(platform, options=OPTIONS.get(platform, {})),
        distributed=True,
        spec={},
        config={},
        config_file="config/train.toml",
        **changes,
    )
    return planner.draft(job, Request(job.skill, job.action), Route("direct", job.skill, "because"), findings)


def answered(*words: object) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize("platform", base.names())
def test_a_blocked_plan_holds_the_same_launch_as_one_that_nothing_blocks(platform: str) -> None:
    free, blocked = launches.sealed(drafted(platform)), launches.sealed(drafted(platform, BLOCKED))
    assert free.argv
    assert (blocked.argv, blocked.files) == (free.argv, free.files)
    assert blocked.sha256 == planner.digest(replace(blocked, sha256=""))
    assert blocked.sha256 != free.sha256


@pytest.mark.parametrize("platform", base.names())
def test_a_blocked_plan_is_not_run_even_where_preflight_finds_nothing_now(platform: str, tmp_path: Path) -> None:
    blocked = launches.sealed(drafted(platform, BLOCKED))
    for findings in (None, [], [BLOCKED]):
        with pytest.raises(BlockedError) as error:
            dispatch.run(blocked, findings)
        assert [problem.code for problem in error.value.problems] == ["data_missing"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("platform", [name for name in base.names() if base.load(name).one_machine])
def test_what_cannot_be_rendered_of_a_blocked_plan_is_a_finding_and_its_config_is_shown(platform: str) -> None:
    several = {"resources": Resources(nodes=2, device="cpu")}
    blocked = launches.sealed(drafted(platform, BLOCKED, **several))
    assert (blocked.argv, list(blocked.files)) == ((), ["config/train.toml"])
    note = blocked.findings[-1]
    assert (note.code, note.severity) == ("launch_not_rendered", "not_checked")
    assert "2" in note.message
    with pytest.raises(TaoSkillsError, match="one node"):
        launches.sealed(drafted(platform, **several))


def test_a_search_without_its_study_is_not_launched_as_a_plain_training(third_skill: Path, tmp_path: Path) -> None:
    request = Request("toy", "train", results_dir=str(tmp_path / "run"))
    plan = dispatch.plan(request)
    lacking = launches.sealed(replace(plan, study=None, files={}, argv=(), findings=()))
    assert (lacking.argv, [found.code for found in lacking.findings]) == ((), ["launch_not_rendered"])
    with pytest.raises(TaoSkillsError):
        dispatch.run(lacking, [])


def test_a_plan_without_a_launch_is_refused(tmp_path: Path) -> None:
    whole = make_plan(make_job(tmp_path / "run", config_file="config/train.toml", config={}, spec={}))
    with pytest.raises(BlockedError) as error:
        dispatch.run(planner.seal(replace(whole, argv=()), launches.NOTHING))
    assert error.value.problems[0].code == "plan_without_launch"


def test_a_blocked_search_shows_its_study_and_the_launch_of_its_controller(
    third_skill: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").write_text("")
    code, shown = answered(
        "plan", "toy", "train", "--results-dir", tmp_path / "taken" / "run", "--full", "--out", tmp_path / "p"
    )
    assert code == 3
    assert shown["launchable"] is False
    assert shown["study"]["first"]
    assert "automl.controller" in shown["files"]["launch.sh"]
    assert shown["argv"]
    assert not (tmp_path / "p").exists()  # nor is an older one changed, which is why the command says so


def test_what_keeps_a_blocked_search_from_a_study_is_shown_with_what_blocks_it(
    third_skill: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "list_gpus", list)
    devices = PlatformRequest(options={"device": "cuda"})
    automl = {"parallel": 2}
    request = Request("toy", "train", automl=automl, platform=devices, results_dir=str(tmp_path / "run"))
    with pytest.raises(BlockedError, match="GPU"):
        dispatch.plan(request)
    (tmp_path / "taken").write_text("")
    plan = dispatch.plan(replace(request, results_dir=str(tmp_path / "taken" / "run")))
    codes = [found.code for found in plan.findings]
    assert {"results_dir_unwritable", "too_few_gpus_at_once", "launch_not_rendered"} <= set(codes)


def test_a_plan_says_whether_it_can_be_launched(third_skill: Path, tmp_path: Path) -> None:
    words = ("plan", "toy", "train", "--automl-policy", "off", "--results-dir")
    assert answered(*words, tmp_path / "run")[1]["launchable"] is True
    (tmp_path / "taken").write_text("")
    done = CliRunner().invoke(app, [*words, str(tmp_path / "taken" / "run"), "--show-files"])
    assert "not launchable: 1 finding blocks; nothing was launched" in done.stderr
    assert "launch.sh" in done.stdout


@pytest.mark.parametrize(
    ("platform", "options"),
    [
        ("local", {}),
        ("docker", {}),
        ("docker", {"host": "nobody@host.invalid"}),
        ("slurm", {}),
        ("slurm", {"host": "nobody@host.invalid"}),
        ("kubernetes", {"claim": "data", "claim_path": "HERE"}),
    ],
)
def test_data_that_is_not_here_blocks_only_jobs_of_this_machine(
    platform: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without a cluster or a daemon
    options = {name: str(tmp_path) if value == "HERE" else value for name, value in options.items()}
    request = Request(
        "tao-finetune-cosmos-predict",
        "prepare",
        overrides={"source": str(tmp_path / "clips")},
        results_dir=str(tmp_path / "run"),
        image="registry/image:1",
        platform=PlatformRequest(platform, options=options),
    )
    plan = dispatch.plan(request)
    is_here = base.load(platform).runs_here(options)
    codes = [found.code for found in plan.findings]
    assert bool(plan.blocking) == is_here
    assert ("not_visible_here" in codes) != is_here
    assert any("does not exist" in found.message for found in plan.findings) == is_here
    assert plan.argv
    assert list(tmp_path.iterdir()) == []
