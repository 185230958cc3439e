"""What every platform promises; a new platform is tested because its file exists."""

import inspect
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.contracts import Credential, Finding, Launch, PlatformRequest, Resources, State
from tao_skill_bank.errors import BackendError, UnknownNameError
from tao_skill_bank.platforms import _base

VERBS = ("probe", "render", "submit", "status", "logs", "cancel")
SECRET = "hf_contract-test-secret"


@pytest.fixture(params=_base.names())
def platform(request):
    return _base.load(request.param)


@pytest.fixture
def plan(platform, tmp_path, monkeypatch):
    """Return a plan for two processes of a job that needs a credential and fetches a model."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
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


@contextmanager
def unless_unreachable():
    """Accept that an engine is not on this machine, when the error says what to do."""
    try:
        yield
    except BackendError as error:
        if not all(problem.fix for problem in error.problems):
            raise


def test_its_name_is_its_file(platform):
    assert type(platform).__module__ == f"tao_skill_bank.platforms.{platform.name}"


def test_it_has_the_verbs_of_the_protocol(platform):
    for verb in VERBS:
        promised = list(inspect.signature(getattr(_base.Platform, verb)).parameters)[1:]
        assert list(inspect.signature(getattr(platform, verb)).parameters) == promised, verb


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


def test_probing_changes_nothing_and_every_finding_has_a_cure(platform, plan, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    findings = platform.probe(plan.job)
    assert sorted(tmp_path.rglob("*")) == before
    assert all(isinstance(finding, Finding) for finding in findings)
    assert all(finding.fix for finding in findings if finding.severity == "blocking")


def test_a_job_that_was_never_submitted_is_not_called_ended(platform, never_submitted):
    with unless_unreachable():
        now = platform.status(never_submitted)
        assert (now.id, now.state) == (never_submitted.id, State.UNKNOWN)


def test_cancelling_a_job_that_was_never_submitted_changes_nothing(platform, never_submitted, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with unless_unreachable():
        platform.cancel(never_submitted)
        platform.cancel(never_submitted)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_job_that_was_never_submitted_has_no_logs(platform, never_submitted):
    with unless_unreachable():
        assert list(platform.logs(never_submitted, follow=False)) == []


def test_an_unknown_platform_is_answered_with_the_known_ones():
    with pytest.raises(UnknownNameError) as error:
        _base.load("abacus")
    assert all(name in error.value.problems[0].fix for name in _base.names())
