"""What a Docker daemon refuses, in words that nobody foresaw."""

import json

import pytest
from fake_docker import CONTAINER, FakeDocker
from runs import make_job, make_plan, make_record

from tao_skill_bank.contracts import PlatformRequest, State
from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.planning import gate
from tao_skill_bank.platforms.docker import platform
from tao_skill_bank.platforms.docker.platform import PLATFORM

DAEMON = "Error response from daemon: "
PLUGIN = f"{DAEMON}authorization denied by plugin corp/authz:1: "
INVENTED = [
    f"{PLUGIN}no trainings on Fridays",
    f"{PLUGIN}connection refused for guests; i/o timeout after 22:00",
    f"{PLUGIN}no such container is allowed here",
    f"{PLUGIN}image not found in the list of signed images",
    f"{DAEMON}Das Kontingent der Gruppe ist erschöpft",
    f"{DAEMON}dial unix /run/corp-policy.sock: connect: connection refused",
    f"{DAEMON}maximum number of containers (5) reached for uid 1000",
    f"{DAEMON}invalid reservation: lab-week has ended\nask hpc@lab.org for a new one",
    f"{DAEMON}write /var/lib/docker: no space left on device",
    "docker: this wrapper admits members of group lab-7 only.\nSee https://lab.org/docker",
    "403 Forbidden by the gateway: request 12345",
]


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "RECONCILE_SECONDS", 0.2)
    monkeypatch.setattr(platform, "POLL_SECONDS", 0.01)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return FakeDocker(tmp_path / "docker", monkeypatch)


@pytest.fixture
def job(tmp_path):
    options = PlatformRequest("docker", options={"user": "1000:1000", "network": "lab"})
    return make_job(tmp_path / "run", id="cosmos-rl-train-0123456789ab", platform=options, image="image:1")


def missing(said, message):
    lines = [line.removeprefix("docker: ").removeprefix(DAEMON) for line in said.splitlines()]
    return [line for line in lines if line not in message]


@pytest.mark.parametrize("said", INVENTED)
@pytest.mark.parametrize("command", ["info", "image inspect", "network inspect"])
def test_a_refusal_in_any_words_blocks_the_plan_and_repeats_them(daemon, job, command, said):
    daemon.says("info", json.dumps({"NCPU": 8}))
    if command == "info":
        daemon.says("info", stderr=said, code=1)
        PLATFORM.probe(job)  # the first answer
    else:
        daemon.says(command, stderr=said, code=1)
    (found,) = PLATFORM.probe(job)
    assert (found.severity, bool(found.fix)) == ("blocking", True)
    assert missing(said, found.message) == []


@pytest.mark.parametrize("said", INVENTED)
def test_a_refusal_at_the_launch_is_one_error_that_repeats_it(daemon, job, said):
    daemon.has_none()
    daemon.says("run", stderr=f"WARNING: x\n{said}\nSee 'docker run --help'.\n", code=125)
    with pytest.raises(BlockedError) as error:
        PLATFORM.submit(make_plan(job, "docker"))
    assert error.value.exit_code == 3
    assert missing(said, error.value.problems[0].message) == []
    assert len(daemon.calls("run")) == 1


@pytest.mark.parametrize("said", INVENTED)
def test_a_daemon_that_refuses_to_show_a_container_ends_no_job(daemon, job, said):
    daemon.says("container inspect", stderr=said, code=1)
    record = make_record(job, platform="docker", backend_ref={"container_id": CONTAINER, "grace_seconds": 7})
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError) as error:
            verb(record)
        assert missing(said, str(error.value)) == []


@pytest.mark.parametrize("text", ["<html>Log in</html>", "podman: not emulated", "[]", "null", '{"State'])
def test_an_answer_that_is_not_understood_warns_a_plan_and_stops_a_launch(daemon, job, text):
    daemon.says("info", text)
    (found,) = PLATFORM.probe(job)
    assert (found.code, found.severity, found.blocks_run) == ("docker_not_understood", "warning", True)
    assert text in found.message
    with pytest.raises(BackendError) as error:
        gate.raise_if_blocked([found])
    assert error.value.exit_code == 6
    daemon.says("container inspect", text)
    record = make_record(job, platform="docker", backend_ref={"container_id": CONTAINER, "grace_seconds": 7})
    with pytest.raises(BackendError, match="not understood"):
        PLATFORM.status(record)


def test_a_banner_before_an_answer_changes_nothing(daemon, job):
    daemon.says("info", f"Emulate Docker [1]\n{json.dumps({'NCPU': 8})}\n")
    assert PLATFORM.probe(job) == []
    state = {"Status": "running", "ExitCode": 0}
    daemon.says("container inspect", f"*** lab ***\n{json.dumps([{'Id': CONTAINER, 'State': state}], indent=1)}\n")
    record = make_record(job, platform="docker", backend_ref={"container_id": CONTAINER, "grace_seconds": 7})
    assert PLATFORM.status(record).state is State.RUNNING


def test_the_id_of_a_container_is_found_among_other_lines(daemon, job):
    daemon.has_none()
    daemon.says("run", f"Welcome\n{CONTAINER}\nBye\n")
    assert PLATFORM.submit(make_plan(job, "docker"))["container_id"] == CONTAINER


def test_a_plugin_that_decides_at_the_launch_is_said_in_the_plan(daemon, job):
    daemon.says("info", json.dumps({"NCPU": 8, "Plugins": {"Authorization": ["corp/authz:1"]}}))
    (found,) = PLATFORM.probe(job)
    assert (found.severity, "corp/authz:1" in found.message) == ("not_checked", True)
