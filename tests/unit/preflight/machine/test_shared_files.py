"""What only this machine has, of a job that runs on others."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_worlds import QuietPlatform, clips_of, codes, make_job, only

from tao_skill_bank.contracts import PlatformRequest, Resources
from tao_skill_bank.core import settings
from tao_skill_bank.platforms import base, file_systems
from tao_skill_bank.platforms.file_systems import Mounted
from tao_skill_bank.preflight.machine import shared_files

ELSEWHERE = {"docker": {"host": "me@gpu1"}, "kubernetes": {"claim": "data", "claim_path": "/"}, "slurm": {}}


@pytest.fixture
def disks(monkeypatch):
    """Choose the folders that lie on this machine's own disk; the others are shared."""

    def choose(*folders):
        own = Mounted("ext4", "/")
        is_own = lambda path: any(Path(path).is_relative_to(folder) for folder in folders)  # noqa: E731
        monkeypatch.setattr(file_systems, "own", lambda path: own if is_own(path) else None)

    return choose


def job_on(platform, tmp_path, *, nodes=2):
    """Return a job of which everything is here: data, results, and a model that is fetched into the state folder."""
    (tmp_path / "data").mkdir(exist_ok=True)
    job = make_job(tmp_path, clips_of(tmp_path / "data"), resources=Resources(nodes=nodes, device="cpu"))
    fetched = ("hf_model://ORG/NAME", str(settings.state_dir() / "models" / "NAME"))
    request = PlatformRequest(platform, options=ELSEWHERE.get(platform, {}))
    return replace(job, fetches=(fetched,), platform=request)


@pytest.mark.parametrize("platform", base.names())
def test_everything_on_this_machines_disk_is_named_where_the_job_runs_elsewhere(platform, tmp_path, disks):
    disks("/")
    found = shared_files.check(job_on(platform, tmp_path), base.load(platform))
    expected = ["results_not_shared", "state_not_shared", "python_not_shared", "inputs_not_shared"]
    expected = [code for code in expected if code != "python_not_shared" or platform == "slurm"]
    assert codes(found) == (expected if platform in ELSEWHERE else [])
    assert not any(each.blocks_run for each in found)
    assert all(each.fix and each.evidence["file_system"] == "ext4" for each in found)


@pytest.mark.parametrize(
    ("own", "code"),
    [
        (lambda folder: folder / "results", "results_not_shared"),
        (lambda _: settings.state_dir(), "state_not_shared"),
        (lambda _: Path(sys.executable).parent, "python_not_shared"),
        (lambda folder: folder / "data", "inputs_not_shared"),
    ],
)
def test_only_what_lies_there_is_named(own, code, tmp_path, disks):
    disks(own(tmp_path))
    assert codes(shared_files.check(job_on("slurm", tmp_path), base.load("slurm"))) == [code]


def test_a_state_folder_that_nothing_is_fetched_into_is_not_named(tmp_path, disks):
    disks(settings.state_dir())
    job = replace(job_on("slurm", tmp_path), fetches=())
    assert shared_files.check(job, base.load("slurm")) == []


def test_the_interpreter_of_a_container_or_of_the_nodes_is_not_that_of_this_machine(tmp_path, disks):
    disks("/")
    for options in ({"container": "pyxis"}, {"python": "/opt/venv-of-nodes/bin/python"}, {"python": "python3"}):
        job = replace(job_on("slurm", tmp_path), platform=PlatformRequest("slurm", options=options))
        assert "python_not_shared" not in codes(shared_files.check(job, base.load("slurm")))


def test_results_of_which_nothing_is_here_are_another_checks_matter(tmp_path, disks):
    disks("/")
    job = replace(job_on("slurm", tmp_path), results_dir="/lustre-not-here/run")
    assert "results_not_shared" not in codes(shared_files.check(job, base.load("slurm")))


def test_several_nodes_are_told_that_one_of_them_fetches(tmp_path, disks):
    disks(settings.state_dir())
    for nodes in (1, 2):
        found = only(shared_files.check(job_on("slurm", tmp_path, nodes=nodes), QuietPlatform(runs_here=False)),
                     "state_not_shared")  # fmt: skip
        assert ("one node fetches" in found.message) == (nodes == 2)
