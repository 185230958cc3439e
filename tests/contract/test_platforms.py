"""What every platform promises; a new platform is tested because its file exists."""

import inspect
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Credential, Finding, Launch, PlatformRequest, Request, Resources, State
from tao_skill_bank.errors import BackendError, RequestError, UnknownNameError
from tao_skill_bank.planning import gate
from tao_skill_bank.platforms import base

VERBS = (
    "runs_here",
    "uses_image",
    "shares",
    "interpreter",
    "probe",
    "render",
    "submit",
    "status",
    "logs",
    "cancel",
    "avoiding",
)
SECRET = "hf_contract-test-secret"
SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")


@pytest.fixture(params=base.names())
def platform(request):
    return base.load(request.param)


@pytest.fixture
def plan(platform, tmp_path, monkeypatch):
    """Return a plan for two processes of a job that needs a credential and fetches a model."""
    for name in SECRETS:
        monkeypatch.setenv(name, SECRET)
    job = make_job(
        tmp_path / "run",
        module="tao_skill_bank.models.cosmos_reason.train",
        resources=Resources(processes_per_node=2, device="cpu"),
        distributed=True,
        fetches=(("hf_model://ORG/NAME", str(tmp_path / "models" / "NAME")),),
        credentials=(Credential("HF_TOKEN"),),
        platform=PlatformRequest(name=platform.name),
        image="registry/image:1",
    )
    return make_plan(job, platform.name)


@pytest.fixture
def never_submitted(platform, plan):
    return make_record(plan.job, platform=platform.name)


@pytest.fixture
def ended(platform, plan):
    """Return the record of a job that its engine knows nothing of any more, and whose run directory tells its end."""
    logs = PurePosixPath(plan.job.results_dir, "logs")
    Path(logs).mkdir(parents=True)
    Path(logs, "exit_code").write_text("0\n")
    Path(plan.job.results_dir, "status.jsonl").write_text(json.dumps({"state": "SUCCESS", "message": "done"}) + "\n")
    return make_record(plan.job, platform=platform.name)


def files_below(folder):
    """Return every file with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def unless_unreachable():
    """Accept that an engine is not on this machine, when the error says what to do."""
    try:
        yield
    except BackendError as error:
        if not all(problem.fix for problem in error.problems):
            raise


def test_its_name_is_its_package(platform):
    assert type(platform).__module__ == f"tao_skill_bank.platforms.{platform.name}.platform"


def test_it_has_the_verbs_of_the_protocol(platform):
    for verb in VERBS:
        promised = list(inspect.signature(getattr(base.Platform, verb)).parameters)[1:]
        assert list(inspect.signature(getattr(platform, verb)).parameters) == promised, verb


def test_it_says_where_jobs_run_and_whether_in_a_container(platform):
    assert isinstance(platform.one_machine, bool)
    assert isinstance(platform.runs_here({}), bool)
    assert isinstance(platform.uses_image({}), bool)


def test_its_skill_documents_every_option(platform):
    text = (catalog.find(f"tao-run-on-{platform.name}").folder / "SKILL.md").read_text()
    undocumented = [name for name in (*platform.number_options, *platform.text_options) if f"`{name}" not in text]
    assert undocumented == []


def test_its_skill_can_be_found_from_the_runbook_of_the_runner(platform):
    text = (catalog.find("tao-run-platform").folder / "SKILL.md").read_text()
    assert f"`tao-run-on-{platform.name}`" in text


def test_an_option_that_it_does_not_have_is_refused_by_its_name(platform):
    request = Request("x", "train", platform=PlatformRequest(platform.name, options={"no_such_option": 1}))
    with pytest.raises(RequestError) as error:
        gate.require_known_options(request, platform)
    assert [problem.path for problem in error.value.problems] == ["platform.options.no_such_option"]


def test_numbers_that_are_none_are_refused_together_by_their_names(platform):
    options = dict.fromkeys(platform.number_options, "many")
    with pytest.raises(RequestError) as error:
        gate.require_known_options(
            Request("x", "train", platform=PlatformRequest(platform.name, options=options)), platform
        )
    assert {problem.path for problem in error.value.problems} == {f"platform.options.{name}" for name in options}


def test_it_does_not_share_mutable_state(platform):
    with pytest.raises(AttributeError):
        platform.name = "other"


def test_rendering_is_pure(platform, plan, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    first, second = platform.render(plan), platform.render(plan)
    assert isinstance(first, Launch)
    assert first == second
    assert sorted(tmp_path.rglob("*")) == before


def test_rendered_files_stay_in_the_run_directory(platform, plan):
    for name in platform.render(plan).files:
        path = PurePosixPath(name)
        assert not path.is_absolute(), name
        assert ".." not in path.parts, name


def test_what_is_rendered_names_the_job_and_its_module(platform, plan):
    launch = platform.render(plan)
    rendered = "\n".join([*launch.argv, *launch.files.values()])
    for part in (plan.job.id, plan.job.module, plan.job.config_file, "hf_model://ORG/NAME"):
        assert part in rendered


def test_remote_inputs_are_staged_and_remote_results_uploaded(platform, plan):
    target = f"{plan.job.results_dir}/inputs/media"
    remote = replace(plan.job, fetches=(("s3://lab/data", target),), results_uri="s3://lab/runs/one")
    launch = platform.render(make_plan(remote, platform.name))
    rendered = "\n".join([*launch.argv, *launch.files.values()])
    for part in ("s3://lab/data", target, "tao_skill_bank.staging.upload", "--last"):
        assert part in rendered


def test_what_is_rendered_holds_no_secret(platform, plan):
    launch = platform.render(plan)
    assert SECRET not in "\n".join([*launch.argv, *launch.files.values()])


def test_probing_changes_nothing_and_every_finding_has_a_fix(platform, plan, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    findings = platform.probe(plan.job)
    assert sorted(tmp_path.rglob("*")) == before
    assert all(isinstance(finding, Finding) for finding in findings)
    assert all(finding.fix for finding in findings if finding.severity == "blocking")


def test_a_job_that_was_never_submitted_is_not_called_ended(platform, never_submitted):
    with unless_unreachable():
        now = platform.status(never_submitted)
        assert (now.id, now.state) == (never_submitted.id, State.UNKNOWN)
        assert now.message


def test_cancelling_a_job_that_was_never_submitted_changes_nothing(platform, never_submitted, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with unless_unreachable():
        platform.cancel(never_submitted)
        platform.cancel(never_submitted)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_end_that_its_engine_has_forgotten_is_told_by_the_run_directory(platform, ended):
    with unless_unreachable():
        now = platform.status(ended)
        assert now.state is State.COMPLETE or (now.state is State.UNKNOWN and now.message)


def test_cancelling_a_job_that_has_ended_changes_nothing(platform, ended, tmp_path):
    before = files_below(tmp_path)
    with unless_unreachable():
        first = platform.status(ended)
        platform.cancel(ended)
        platform.cancel(ended)
        assert platform.status(ended) == first
    assert files_below(tmp_path) == before


def test_a_job_that_was_never_submitted_has_no_logs(platform, never_submitted):
    with unless_unreachable():
        assert list(platform.logs(never_submitted, follow=False)) == []


def test_an_unknown_platform_is_answered_with_the_known_ones():
    with pytest.raises(UnknownNameError) as error:
        base.load("abacus")
    assert all(name in error.value.problems[0].fix for name in base.names())


@pytest.mark.parametrize(
    ("name", "option", "unit"),
    [
        ("kubernetes", "cpu", ""),
        ("kubernetes", "cpu_limit", "m"),
        ("kubernetes", "memory", "Gi"),
        ("kubernetes", "shm", "Gi"),
        ("kubernetes", "user", ""),
        ("docker", "memory", "g"),
        ("docker", "shm_size", "g"),
        ("slurm", "mem", "G"),
    ],
)
def test_a_size_beyond_every_machine_is_refused(name, option, unit, tmp_path):
    asked = PlatformRequest(name, options={option: f"{'9' * 400}{unit}"})
    with pytest.raises(RequestError) as error:
        make_plan(make_job(tmp_path / "run", image="registry/image:1", platform=asked), name)
    assert [problem.path for problem in error.value.problems] == [f"platform.options.{option}"]
