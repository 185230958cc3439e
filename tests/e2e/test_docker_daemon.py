"""A real Docker daemon (tests/support/docker_daemon.sh), and real jobs in its containers."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import docker_rules
import pytest
from needs import lacking
from runs import eventually, make_job, make_plan

from tao_skill_bank.contracts import PlatformRequest, Request, Resources, State
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError
from tao_skill_bank.jobs import service
from tao_skill_bank.planning import dispatch
from tao_skill_bank.platforms.docker.platform import PLATFORM

ROOT = Path(__file__).parents[2]
DAEMON = ROOT / "tests" / "support" / "docker_daemon.sh"
COMMANDS = ("dockerd", "docker", "containerd", "runc")
IMAGE = "tao-test:bare"  # without programs: those of this machine are mounted
MOUNTS = ",".join(f"{path}:ro" for path in sorted({"/usr", sys.base_prefix, sys.prefix, str(ROOT)}))
IN_THE_CONTAINER = {"python": sys.executable, "mounts": MOUNTS, "env": "PYTHONPATH,OMP_NUM_THREADS"}

pytestmark = pytest.mark.usefixtures("daemon")


def why_not() -> str:
    """Return what this machine lacks for a daemon, or nothing."""
    if os.geteuid() != 0:
        return "a Docker daemon needs root"
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing and shutil.which("apt-get") is None:
        return f"a Docker daemon needs {', '.join(missing)}, and there is no apt-get to install them"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"a Docker daemon needs namespaces: {tried.stderr.strip()}"


def call_script(verb, folder):
    """Run docker_daemon.sh; with its output in a file, since the daemon keeps a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(["bash", DAEMON, verb, folder], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                              check=False)  # fmt: skip
        said.seek(0)
        return done.returncode, said.read()


@pytest.fixture(autouse=True)
def _embedded_models() -> None:
    """Make models in the state folder itself: containers do not see what it links to."""


@pytest.fixture(scope="module")
def folder():
    if reason := why_not():
        lacking(reason)
    path = tempfile.mkdtemp(prefix="tao-docker-", dir="/var/tmp")
    try:
        code, said = call_script("up", path)
        if code != 0 and ("Unable to locate package" in said or "cgroup" in said):
            lacking(f"a Docker daemon could not be had: {said.strip().splitlines()[-1]}")
        assert code == 0, said
        yield path
    finally:
        call_script("down", path)
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(folder, monkeypatch):
    """Point docker at the daemon, and leave no container in it. Returns the folder of the daemon."""
    paths = [str(ROOT / "tests" / "support"), str(ROOT / "src")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/docker.sock")
    yield folder
    if left := docker("ps", "--all", "--quiet").split():
        docker("rm", "--force", *left)


@pytest.fixture
def planned(tmp_path):
    """Plan a job of the fake trainer."""

    def plan_job(*acts, options=None, **changes):
        platform = PlatformRequest("docker", options={**IN_THE_CONTAINER, "grace_seconds": 10, **(options or {})})
        values = {"image": IMAGE, **changes}
        return make_plan(make_job(tmp_path / "a run", acts, platform=platform, **values), "docker")

    return plan_job


@pytest.fixture
def launch(planned):
    return lambda *acts, **changes: service.launch(planned(*acts, **changes))


def docker(*words):
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def until_over(handle, seconds=1200):
    return eventually(lambda: (now := handle.status()).state.is_terminal and now, seconds=seconds)


def is_saving(handle):
    return handle.run_directory.last_status().get("step") == 1


def pretend(name, tmp_path, monkeypatch, script):
    """Put a command in front of the machine's own."""
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two trainings, which import much
def test_a_training_in_a_container_completes_with_the_losses_of_one_without(sample_data, tmp_path):
    handles, losses = {}, {}
    for name in ("local", "docker"):  # at the same time, each on one core
        request = Request(
            "tao-finetune-cosmos-reason",
            "train",
            automl_policy="off",
            datasets={"train": str(sample_data / "train"), "eval": str(sample_data / "val")},
            overrides={
                "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
                "train.epoch": 1,
                "train.train_batch_per_replica": 4,
                "train.train_policy.mini_batch": 4,
                "train.train_policy.dataloader_num_workers": 0,
                "validation.dataloader_num_workers": 0,
                "custom.vision.nframes": 4,
            },
            platform=PlatformRequest(name, options=IN_THE_CONTAINER if name == "docker" else {}),
            results_dir=str(tmp_path / name),
            image=IMAGE if name == "docker" else None,
        )
        handles[name] = dispatch.run(dispatch.plan(request))
    for name, handle in handles.items():
        now = until_over(handle, seconds=1800)
        assert (now.state, now.exit_code) == (State.COMPLETE, 0), "\n".join(handle.logs())
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        losses[name] = [line["train/loss_avg"] for line in lines if "train/loss_avg" in line]
        assert (tmp_path / name / "best" / "best_score.json").is_file()
    assert len(losses["docker"]) == 3
    assert losses["docker"] == pytest.approx(losses["local"], rel=1e-5)
    assert docker("ps", "--all", "--quiet") == ""


@pytest.mark.slow
def test_processes_of_a_job_find_each_other_without_a_network(launch):
    resources = Resources(processes_per_node=2, device="cpu")
    handle = launch("start", "step:1", "succeed", resources=resources, distributed=True, options={"network": "none"})
    assert until_over(handle).state is State.COMPLETE, "\n".join(handle.logs())
    assert {path.name for path in handle.run_directory.path.glob("rank_*.pid")} == {"rank_0.pid", "rank_1.pid"}


def test_a_credential_reaches_the_trainer_and_no_file_of_ours(launch, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_not-to-be-seen")
    handle = launch("start", "environment:HF_TOKEN,COLOUR", "succeed", options={
        "env": f"{IN_THE_CONTAINER['env']},COLOUR=blue"})  # fmt: skip
    assert until_over(handle).state is State.COMPLETE
    written = handle.run_directory.path / "environment.json"
    seen = json.loads(written.read_text())
    assert (seen["HF_TOKEN"], seen["COLOUR"]) == ("hf_not-to-be-seen", "blue")
    written.unlink()
    files = [path for path in handle.run_directory.path.rglob("*") if path.is_file()]
    assert not any("not-to-be-seen" in path.read_text(errors="replace") for path in files)


def test_a_failing_job_ends_as_error_with_its_cause_and_its_log_is_followed(launch):
    handle = launch("start", "say:hello", "fail:A bad video.")
    assert "hello" in list(handle.logs(follow=True))
    now = handle.status()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 1)
    assert "A bad video." in now.message
    assert docker("ps", "--all", "--quiet") == ""
    assert "hello" in list(handle.logs())  # the log outlives the container


def test_a_cancelled_training_saves_itself_and_leaves_no_container(launch):
    handle = launch("start", "save_on_signal", "step:1", "wait_for:never")
    eventually(lambda: is_saving(handle))
    assert handle.status().state is State.RUNNING
    now = handle.cancel()
    assert now.state is State.CANCELED
    assert "All of it is in step_7." in now.message
    assert handle.cancel() == now
    assert docker("ps", "--all", "--quiet") == ""


def test_what_does_not_listen_is_killed_after_the_grace_period(launch):
    handle = launch("start", "ignore_sigterm", "step:1", "wait_for:never", options={"grace_seconds": 1})
    eventually(lambda: is_saving(handle))
    assert handle.cancel().state is State.CANCELED
    assert docker("ps", "--all", "--quiet") == ""


def test_a_container_killed_from_outside_is_no_failure_of_the_program(launch):
    handle = launch("start", "step:1", "wait_for:never")
    eventually(lambda: is_saving(handle))
    docker("kill", handle.id)
    now = until_over(handle)
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_INFRA", 137)
    assert "killed from outside" in now.message


def test_a_container_removed_from_outside_is_not_called_ended(launch):
    handle = launch("start", "step:1", "wait_for:never")
    eventually(lambda: is_saving(handle))
    docker("rm", "--force", handle.id)
    assert handle.status().state is State.UNKNOWN


def test_a_job_whose_memory_runs_out_says_so(launch):
    now = until_over(launch("start", "step:1", "allocate:400", options={"memory": "100m"}))
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 137)
    assert "--option memory" in now.message


def test_a_name_that_is_taken_is_a_conflict_and_that_container_goes_on(planned):
    plan = planned()
    docker("create", "--name", plan.job.id, IMAGE, "true")
    with pytest.raises(ConflictError) as error:
        service.launch(plan)
    assert error.value.problems[0].code == "job_name_taken"
    (record,) = service.list_jobs()
    assert record.state is State.ERROR
    assert docker("ps", "--all", "--format", "{{.Names}}").split() == [plan.job.id]


@pytest.mark.parametrize(
    ("changes", "code", "is_foreseen"),
    [
        ({"image": "no/such:1"}, "image_missing", True),
        ({"resources": Resources(device="cuda")}, "gpu_runtime_missing", True),
        ({"options": {"network": "no-such"}}, "unknown_network", True),
        ({"options": {"cpus": 10_000}}, "too_many_cpus", True),
        ({"options": {"mounts": "/no/such/folder"}}, "mount_missing", True),
        ({"options": {"user": "nobody-here"}}, "unknown_user", False),
        ({"options": {"memory": "1m"}}, "invalid_memory", False),
    ],
)
def test_what_the_daemon_cannot_do_is_one_error_and_leaves_no_container(planned, changes, code, is_foreseen):
    plan = planned(**changes)
    found = [finding.code for finding in PLATFORM.probe(plan.job)]
    assert found == ([code] if is_foreseen else [])
    with pytest.raises(BlockedError) as error:
        service.launch(plan)
    assert [problem.code for problem in error.value.problems] == [code]
    assert docker("ps", "--all", "--quiet") == ""


def test_an_image_without_bash_says_so(launch):
    now = until_over(launch(options={"mounts": "/var/tmp:/var/tmp:ro"}))
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 127)
    assert "The image has no bash" in now.message


def test_an_interpreter_that_the_image_lacks_is_told_with_its_option(launch):
    now = until_over(launch(options={"python": "/no/such/python"}))
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 127)
    assert "/no/such/python" in now.message
    assert "--option python" in now.message


def test_an_answer_that_was_lost_after_the_container_started_starts_no_second_one(launch, tmp_path, monkeypatch):
    real = shutil.which("docker")
    lose = (
        f'if [[ $1 == run ]]; then {real} "$@" > /dev/null; echo "docker: error during connect: EOF." >&2; exit 125; fi'
    )
    pretend("docker", tmp_path, monkeypatch, f'{lose}\nexec {real} "$@"')
    handle = launch("start", "step:1", "succeed")
    assert "container_id" in handle.record.backend_ref
    assert until_over(handle).state is State.COMPLETE


def test_a_daemon_reached_by_ssh_runs_jobs_on_a_shared_file_system(launch, daemon, tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST")
    real = f"{shutil.which('docker')} --host unix://{daemon}/docker.sock"
    pretend("ssh", tmp_path, monkeypatch, f'echo "$*" >> {tmp_path}/ssh.log\nexec {real} system dial-stdio')
    handle = launch("start", "step:1", "succeed", options={"host": "me@far"})
    assert handle.record.backend_ref["docker_host"] == "ssh://me@far"
    assert until_over(handle).state is State.COMPLETE
    assert "docker system dial-stdio" in (tmp_path / "ssh.log").read_text()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon}/docker.sock")


SITE_RULES = [
    "no trainings on Fridays",
    "the quota of lab-7 is used up;\nsee https://hpc.example.org/limits",
    "connection refused for guests: i/o timeout after 22:00",
    "no such image is signed: image not found in the list",
    "Das Kontingent der Gruppe ist erschöpft",
    "4711",
]


@pytest.fixture
def site_rules(daemon):
    """Have the daemon ask a plugin, which refuses what a test says."""
    name = f"tao-rules-{os.getpid()}"
    config = Path(daemon, "daemon.json")

    with docker_rules.serving(name) as server:

        def is_asked():
            before = server.num_asked
            docker("ps")
            return server.num_asked > before

        config.write_text(json.dumps({"authorization-plugins": [name]}))
        call_script("reload", daemon)
        eventually(is_asked, seconds=30)
        yield server
        server.refused = ""
        config.write_text(json.dumps({"authorization-plugins": []}))
        call_script("reload", daemon)
        eventually(lambda: not is_asked(), seconds=30)


def test_what_a_plugin_of_the_daemon_refuses_blocks_in_its_words_and_leaves_nothing(site_rules, launch, tmp_path):
    job = make_job(tmp_path, platform=PlatformRequest("docker"), image=IMAGE)
    assert PLATFORM.probe(job) == []
    for said, refused in itertools.product(SITE_RULES, ("GET .*/info", "GET .*/images/")):
        site_rules.refused, site_rules.words = refused, said
        found = PLATFORM.probe(job)[-1]
        assert (found.code, found.severity) == ("policy_refused", "blocking")
        assert [line for line in said.splitlines() if line not in found.message] == []
    for said in SITE_RULES:
        site_rules.refused, site_rules.words = "POST .*/containers/create", said
        with pytest.raises(BlockedError) as error:
            launch(*("start", "succeed"))
        assert [line for line in said.splitlines() if line not in str(error.value)] == []
    assert docker("ps", "--all", "--quiet") == ""
    assert {record.state for record in service.list_jobs()} == {State.ERROR}


def test_a_training_saves_itself_when_the_daemon_restarts(launch, daemon):
    handle = launch("start", "save_on_signal", "step:1", "wait_for:never")
    eventually(lambda: is_saving(handle))
    code, said = call_script("restart", daemon)
    assert code == 0, said
    now = until_over(handle)
    assert (now.err_class, now.is_interrupted) == ("ERR_INFRA", True)
    assert "All of it is in step_7." in now.message


def test_a_job_whose_daemon_is_killed_ends_with_the_truth_once_it_is_back(launch, daemon):
    handle = launch("start", "step:1", "wait_for:never")
    eventually(lambda: is_saving(handle))
    call_script("kill", daemon)
    for ask in (handle.status, handle.cancel):
        with pytest.raises(BackendError) as error:
            ask()
        assert (error.value.exit_code, error.value.problems[0].code) == (6, "docker_unreachable")
    assert [record.id for record in service.list_jobs()] == [handle.id]
    assert [finding.code for finding in PLATFORM.probe(make_job(daemon, image=IMAGE))] == ["docker_unreachable"]
    code, said = call_script("start", daemon)
    assert code == 0, said
    now = until_over(handle)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_INFRA")
