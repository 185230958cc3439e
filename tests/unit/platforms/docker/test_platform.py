import json
import subprocess
from pathlib import Path

import pytest
from fake_docker import CONTAINER, FakeDocker
from runs import make_job, make_plan, make_record

from tao_skill_bank.bank import images
from tao_skill_bank.contracts import Credential, Input, PlatformRequest, Resources, State, Workload
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError, RequestError
from tao_skill_bank.platforms.docker import options as docker_options
from tao_skill_bank.platforms.docker import platform, render
from tao_skill_bank.platforms.docker.options import Mount
from tao_skill_bank.platforms.docker.platform import PLATFORM

GOLDEN = Path(__file__).parents[3] / "golden"
JOB = "cosmos-rl-train-0123456789ab"
INFO = {"NCPU": 8, "Runtimes": {"runc": {}, "nvidia": {}}}
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
MODULE = "tao_skill_bank.models.cosmos_reason.train"


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "RECONCILE_SECONDS", 0.2)
    monkeypatch.setattr(platform, "POLL_SECONDS", 0.01)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return FakeDocker(tmp_path / "docker", monkeypatch)


@pytest.fixture
def job(tmp_path):
    return docker_job(tmp_path / "run")


@pytest.fixture
def record(job):
    Path(job.results_dir, "logs").mkdir(parents=True)
    return make_record(job, platform="docker", backend_ref={"container_id": CONTAINER, "grace_seconds": 7, "keep": 0})


def docker_job(results_dir, options=None, **changes):
    options = {"user": "1000:1000", **(options or {})}
    return make_job(
        results_dir, id=JOB, platform=PlatformRequest("docker", options=options), **{"image": "image:1", **changes}
    )


def annotated(role, annotation_path, media_path):
    return Input(role, "annotations", {"annotation_path": annotation_path, "media_path": media_path})


def say(record, **line):
    path = Path(record.results_dir, "status.jsonl")
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def leave(record, name, text):
    Path(record.results_dir, "logs", name).write_text(text)


# --- render -------------------------------------------------------------------------------------------------------


def golden_text(plan):
    """Return a launch as a plan shows it: the command with an option a line, then the script."""
    lines = [""]
    for word in plan.argv:
        if word.startswith("--"):
            lines.append(" ")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines) + "\n\n" + plan.files["launch.sh"]


@pytest.mark.parametrize(
    ("golden", "changes", "options"),
    [
        (
            "docker_train_two_gpus.txt",
            {
                "resources": Resources(processes_per_node=2, device="cuda"),
                "distributed": True,
                "module": MODULE,
                "config_file": "config/train.toml",
                "config": {
                    "policy": {"model_name_or_path": "/state/models/hub/ORG--NAME"},
                    "custom": {
                        "train_dataset": {"annotation_path": "/data/a,b/annotations.json", "media_path": "/data/a,b"},
                        "val_dataset": {"annotation_path": "/data/val.json", "media_path": "/videos"},
                    },
                },
                "workload": Workload(
                    model="hf_model://ORG/NAME",
                    trains=True,
                    inputs=(
                        annotated("train", "/data/a,b/annotations.json", "/data/a,b"),
                        annotated("eval", "/data/val.json", "/videos"),
                    ),
                ),
                "fetches": (("hf_model://ORG/NAME", "/state/models/hub/ORG--NAME"),),
                "credentials": (Credential("HF_TOKEN"), Credential("OTHER_TOKEN")),
                "image": "tao-skill-bank:latest",
            },
            {
                "cpus": 16, "memory": "64g", "shm_size": "16g", "devices": "2,3", "network": "host",
                "env": "NCCL_DEBUG",
                "mounts": "/shared/videos:/videos:ro,/scratch", "host": "me@gpu1", "grace_seconds": 300,
            },
        ),
        (
            "docker_evaluate_cosmos_rl.txt",
            {
                "action": "evaluate",
                "resources": Resources(device="cuda"),
                "workload": Workload(),
                "config_file": "config/evaluate.toml",
                "config": {"model": {"model_name": "nvidia/Cosmos-Reason2-8B"}},
                "command": ("cosmos-rl-evaluate",),
                "image": "registry/cosmos-rl:1",
            },
            {"ipc": "host"},
        ),
    ],
)  # fmt: skip
def test_the_rendered_launch_is_the_golden_one(golden, changes, options, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", "/state")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    plan = make_plan(docker_job("/results/a run", options, **changes), "docker")
    assert golden_text(plan) == (GOLDEN / golden).read_text()


def test_every_rendered_script_is_valid_bash(tmp_path):
    for command in ((), ("cosmos-rl",)):
        script = tmp_path / "launch.sh"
        script.write_text(make_plan(docker_job("/results/a run", command=command), "docker").files["launch.sh"])
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_inputs_are_mounted_read_only_and_results_are_not(tmp_path):
    config = {
        "policy": {"model_name_or_path": "/models/base"},
        "train": {"resume": str(tmp_path / "run" / "checkpoints" / "epoch_1")},
        "custom": {
            "train_dataset": {"annotation_path": "/data/train/annotations.json", "media_path": "/data/train"},
            "val_dataset": {"annotation_path": "s3://bucket/val.json", "media_path": "/data/val"},
        },
    }
    inputs = (
        annotated("train", "/data/train/annotations.json", "/data/train"),
        annotated("eval", "s3://bucket/val.json", "/data/val"),
    )
    workload = Workload(trains=True, inputs=inputs)
    job = docker_job(tmp_path / "run", config=config, workload=workload)
    found = {mount.source: mount.read_only for mount in render.mounts(job, docker_options.of(job))}
    read_only = {name for name, is_read_only in found.items() if is_read_only}
    assert read_only == {"/models/base", "/data/train", "/data/val"}
    assert str(tmp_path / "run") in found


def test_a_mount_of_the_user_replaces_that_of_an_input_where_the_daemon_is_elsewhere():
    config = {"policy": {"model_name_or_path": "/models/base"}}
    job = docker_job("/run", {"mounts": "/elsewhere:/models/base", "host": "me@gpu1"}, config=config)
    found = render.mounts(job, docker_options.of(job))
    assert Mount("/elsewhere", "/models/base") in found
    assert "/models/base" not in {mount.source for mount in found}


@pytest.mark.parametrize("mounts", ["/usr:/models/base", "/usr:/models", "/usr:/run", "/:/"])
def test_a_mount_that_hides_what_was_checked_is_refused(mounts):
    job = docker_job("/run", {"mounts": mounts}, config={"policy": {"model_name_or_path": "/models/base"}})
    with pytest.raises(RequestError) as error:
        docker_options.of(job)
    assert error.value.problems[0].code in ("mount_hides_input", "mount_hides_image")


@pytest.mark.parametrize("name", ["--privileged", "UPPER/Case:tag", "a b"])
def test_a_name_that_no_image_can_have_is_refused(name):
    with pytest.raises(RequestError) as error:
        docker_options.of(docker_job("/run", image=name))
    assert [problem.code for problem in error.value.problems] == ["invalid_image"]


@pytest.mark.parametrize(
    "name",
    [
        "ubuntu",
        "tao-skill-bank:latest",
        "nvcr.io/nvidia/tao/tao-toolkit:7.0.1-cosmos-rl",
        "localhost:5000/a/b@sha256:" + "0" * 64,
    ],
)
def test_names_of_images_are_taken_as_they_are_written(name):
    job = docker_job("/run", image=name)
    assert not docker_options._problems(job.platform.options, job)


@pytest.mark.parametrize(("option", "value"), [("shm_size", "8"), ("memory", "64"), ("env", "TAO_STATE_DIR=/x")])
def test_sizes_need_their_unit_and_our_own_variables_stay(option, value):
    with pytest.raises(RequestError) as error:
        docker_options.of(docker_job("/run", {option: value}))
    assert error.value.problems[0].path == f"platform.options.{option}"


@pytest.mark.parametrize(
    ("options", "threads"),
    [({"cpus": 5}, ["OMP_NUM_THREADS=2"]), ({"cpus": 0.5}, ["OMP_NUM_THREADS=1"]), ({}, []),
     ({"cpus": 5, "env": "OMP_NUM_THREADS"}, ["OMP_NUM_THREADS"]),
     ({"cpus": 5, "env": "A=1,OMP_NUM_THREADS=3"}, ["OMP_NUM_THREADS=3"])],
)  # fmt: skip
def test_a_limit_of_cores_limits_the_threads_of_each_process(options, threads):
    job = docker_job("/run", options, resources=Resources(processes_per_node=2, device="cpu"))
    assert [word for word in make_plan(job, "docker").argv if word.startswith("OMP_NUM_THREADS")] == threads


def test_values_of_variables_are_neither_in_the_command_nor_in_a_file(daemon, job, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_not-to-be-seen")
    daemon.has_none()
    daemon.says("run", f"{CONTAINER}\n")
    plan = make_plan(job, "docker")
    PLATFORM.submit(plan)
    assert "hf_not-to-be-seen" not in "\n".join([*plan.argv, *plan.files.values(), *daemon.calls()])
    assert daemon.environment()["HF_TOKEN"] == "hf_not-to-be-seen"


def test_the_script_of_a_foreign_image_tells_success_by_the_exit_code(tmp_path):
    for program, expected in (("true", ["SUCCESS"]), ("false", [])):
        folder = tmp_path / program
        (folder / "logs").mkdir(parents=True)
        script = make_plan(docker_job(folder, command=(program,)), "docker").files["launch.sh"]
        done = subprocess.run(["bash", "-c", script], check=False)
        lines = (folder / "status.jsonl").read_text().splitlines() if (folder / "status.jsonl").exists() else []
        assert [json.loads(line)["state"] for line in lines] == expected
        assert (folder / "logs" / "exit_code").read_text() == f"{done.returncode}\n"


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "-oProxyCommand=reboot"),
        ("host", "login"),
        ("host", "ssh://me@gpu1 --privileged"),
        ("python", "-c"),
        ("memory", "64 GB"),
        ("shm_size", "much"),
        ("ipc", "host --privileged"),
        ("user", "me:"),
        ("network", "--privileged"),
        ("devices", "0,"),
        ("env", "A,HF_TOKEN=not-to-be-seen"),
        ("env", "A B,HF_TOKEN=not-to-be-seen"),
        ("mounts", "data"),
        ("mounts", "/data:/a:/b:ro"),
        ("mounts", "/data,"),
        ("keep", "perhaps"),
        ("python", True),
    ],
)
def test_an_option_that_docker_would_not_understand_is_refused_by_its_name(name, value):
    with pytest.raises(RequestError) as error:
        PLATFORM.probe(docker_job("/run", {name: value}))
    assert [problem.path for problem in error.value.problems] == [f"platform.options.{name}"]
    assert error.value.problems[0].fix
    assert "not-to-be-seen" not in str(error.value.problems)


def test_all_wrong_options_are_told_together():
    with pytest.raises(RequestError) as error:
        docker_options.of(docker_job("/run", {"memory": "much", "env": "A=1,", "keep": 3}, image=None))
    assert {problem.path for problem in error.value.problems} == {
        "platform.options.memory", "platform.options.env", "platform.options.keep", "image",
    }  # fmt: skip


def test_as_many_gpus_are_named_as_the_job_uses():
    resources = Resources(processes_per_node=2, device="cuda")
    with pytest.raises(RequestError) as error:
        docker_options.of(docker_job("/run", {"devices": "0"}, resources=resources))
    assert error.value.problems[0].expected == "2 GPUs"


@pytest.mark.parametrize(
    ("visible", "options", "devices"),
    [
        ("3,5,7", {}, "3,5"),
        ("3,5", {"devices": "0,1"}, "0,1"),
        ("3,5", {"host": "me@gpu1"}, None),
        ("3", {}, None),
        ("", {}, None),
    ],
)
def test_gpus_that_the_user_made_visible_are_taken_on_this_machine(monkeypatch, visible, options, devices):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    job = docker_job("/run", options, resources=Resources(processes_per_node=2, device="cuda"))
    assert docker_options.of(job).devices == devices


@pytest.mark.parametrize(
    ("text", "mounts"),
    [
        ("/a", (Mount("/a", "/a"),)),
        ("/a:ro", (Mount("/a", "/a", True),)),
        ("/a:/b,/c:/d:ro,/e:rw", (Mount("/a", "/b"), Mount("/c", "/d", True), Mount("/e", "/e"))),
    ],
)
def test_mounts_are_read_as_docker_reads_them(text, mounts):
    assert docker_options.of(docker_job("/run", {"mounts": text})).mounts == mounts


@pytest.mark.parametrize(
    ("options", "variable", "here"),
    [
        ({}, None, True),
        ({"host": "unix:///run/docker.sock"}, None, True),
        ({"host": "me@gpu1"}, None, False),
        ({}, "ssh://me@gpu1", False),
    ],
)
def test_the_address_of_the_daemon_tells_whether_jobs_run_here(monkeypatch, options, variable, here):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if variable:
        monkeypatch.setenv("DOCKER_HOST", variable)
    assert PLATFORM.runs_here(options) is here


# --- probe --------------------------------------------------------------------------------------------------------


def probed(daemon, job, info=None):
    daemon.says("info", json.dumps(info or INFO))
    return [(found.code, found.severity) for found in PLATFORM.probe(job)]


def test_a_request_that_the_daemon_can_meet_has_no_finding(daemon, tmp_path):
    job = docker_job(tmp_path, {"network": "host", "cpus": 8, "mounts": str(tmp_path)},
                     resources=Resources(device="cuda"))  # fmt: skip
    assert probed(daemon, job) == []


def test_what_stands_in_the_way_is_told_all_together(daemon, tmp_path):
    missing = "Error response from daemon: no such image: x"
    daemon.says("image inspect", stderr=missing, code=1)
    daemon.says("network inspect", stderr="Error response from daemon: network lab not found", code=1)
    job = docker_job(
        tmp_path,
        {"network": "lab", "cpus": 9, "mounts": "/nowhere/at/all"},
        resources=Resources(nodes=2, device="cuda"),
    )
    assert probed(daemon, job, {"NCPU": 8, "Runtimes": {"runc": {}}}) == [
        ("docker_single_node", "blocking"),
        ("image_missing", "warning"),
        ("gpu_runtime_missing", "warning"),
        ("too_many_cpus", "blocking"),
        ("unknown_network", "blocking"),
        ("mount_missing", "blocking"),
    ]


def test_links_to_what_the_container_does_not_see_are_told_with_the_mount_that_shows_it(daemon, tmp_path):
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "main", tmp_path / "cache" / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    (blobs / "00ff").touch()
    (snapshot / "config.json").symlink_to("../../blobs/00ff")
    (snapshot / "again.json").symlink_to("config.json")
    config = {"policy": {"model_name_or_path": str(snapshot)}}
    daemon.says("info", json.dumps(INFO))
    (found,) = PLATFORM.probe(docker_job(tmp_path / "run", config=config))
    assert (found.code, found.severity) == ("links_lead_out", "blocking")
    assert found.message.startswith("1 entries")
    assert found.fix.endswith(f"--option mounts={blobs}:ro")
    assert PLATFORM.probe(docker_job(tmp_path / "run", {"mounts": f"{blobs}:ro"}, config=config)) == []


@pytest.mark.parametrize(
    ("image", "part"),
    [("tao-skill-bank:latest", "docker build --file docker/Dockerfile"), ("a/b:1", "docker pull a/b:1")],
)
def test_an_image_that_is_missing_is_told_with_the_command_that_brings_it(daemon, tmp_path, image, part):
    daemon.says("info", json.dumps(INFO))
    daemon.says("image inspect", stderr="Error response from daemon: No such image: x", code=1)
    (found,) = PLATFORM.probe(docker_job(tmp_path, image=image))
    assert (found.code, found.blocks_run) == ("image_missing", True)
    assert part in found.fix


def test_gpus_by_device_interface_need_no_runtime(daemon, tmp_path):
    info = {"NCPU": 8, "Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}
    assert probed(daemon, docker_job(tmp_path, resources=Resources(device="cuda")), info) == []


def test_whether_another_machine_has_the_gpu_hook_is_not_known(daemon, tmp_path):
    job = docker_job(tmp_path, {"host": "me@gpu1"}, resources=Resources(device="cuda"))
    assert probed(daemon, job, {"NCPU": 8, "Runtimes": {}}) == [("gpu_runtime_missing", "not_checked")]


@pytest.mark.parametrize(
    ("said", "options", "code", "fix"),
    [
        (DOWN, {}, "docker_unreachable", "docker info"),
        ("permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
         "\"http:///\": dial unix /var/run/docker.sock: connect: permission denied", {}, "docker_permission_denied",
         "usermod -aG docker"),
        ("error during connect: Get \"http://docker.example.com/v1.24/info\": command [ssh -l me -- gpu1 docker system "
         "dial-stdio] has exited with exit status 255, please make sure the URL is valid, and Docker 18.09 or later is "
         "installed on the remote host: stderr=me@gpu1: Permission denied (publickey).", {"host": "me@gpu1"},
         "ssh_failed", "ssh -o BatchMode=yes me@gpu1"),
    ],
)  # fmt: skip
def test_a_daemon_that_cannot_be_asked_lets_a_plan_pass_and_stops_its_launch(
    daemon, tmp_path, said, options, code, fix
):
    daemon.says("info", "null\n", stderr=said, code=1)
    (found,) = PLATFORM.probe(docker_job(tmp_path, options))
    assert (found.code, found.severity, found.blocks_run) == (code, "warning", True)
    assert fix in found.fix


def test_a_command_that_hides_the_daemons_failure_is_not_believed(daemon, tmp_path):
    daemon.says("info", json.dumps({"ServerErrors": [DOWN]}))
    assert [found.code for found in PLATFORM.probe(docker_job(tmp_path))] == ["docker_unreachable"]


def test_a_plan_passes_without_docker_and_its_launch_does_not(job, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = PLATFORM.probe(job)
    assert (found.code, found.severity, found.blocks_run) == ("docker_missing", "warning", True)


# --- submit -------------------------------------------------------------------------------------------------------


def test_a_submission_remembers_the_container_and_its_daemon(daemon, job):
    daemon.has_none()
    daemon.says("run", f"{CONTAINER}\n", stderr="WARNING: IPv4 forwarding is disabled.")
    reference = PLATFORM.submit(make_plan(job, "docker"))
    assert reference["container_id"] == CONTAINER
    assert reference["docker_host"] == "unix:///var/run/docker.sock"
    assert Path(job.results_dir, "logs").is_dir()


def test_a_daemon_behind_keys_is_remembered_by_its_context(daemon, job):
    daemon.says("context inspect", "lab tcp://gpu1:2376\n")
    daemon.has_none()
    daemon.says("run", f"{CONTAINER}\n")
    PLATFORM.submit(make_plan(job, "docker"))  # the first answer is that of the default context
    reference = PLATFORM.submit(make_plan(job, "docker"))
    assert reference["docker_context"] == "lab"
    assert "docker_host" not in reference


REFUSALS = [
    ("docker: Error response from daemon: No such image: image:1", "image_missing", "image"),
    ("docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].",
     "gpu_runtime_missing", "platform.gpus"),
    ("docker: Error response from daemon: failed to create task: OCI runtime create failed: nvidia-container-cli: "
     "device error: 9: unknown device: unknown", "gpu_runtime_missing", "platform.gpus"),
    ("docker: Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /x",
     "mount_missing", "platform.options.mounts"),
    ("docker: Error response from daemon: network nope not found", "unknown_network", "platform.options.network"),
    ("docker: Error response from daemon: Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
     "too_many_cpus", "platform.options.cpus"),
    ("docker: Error response from daemon: Minimum memory limit allowed is 6MB", "invalid_memory",
     "platform.options.memory"),
    ("docker: Error response from daemon: unable to find user bob: no matching entries in passwd file", "unknown_user",
     "platform.options.user"),
    ("docker: Error response from daemon: OCI runtime create failed: runc create failed: unable to start container "
     "process: exec: \"bash\": executable file not found in $PATH: unknown", "image_without_bash", "image"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "path"), REFUSALS)
def test_a_refusal_is_one_error_with_its_cause_and_leaves_no_container(daemon, job, said, code, path):
    daemon.has_none()
    daemon.has("created", JOB)
    daemon.says("run", f"{CONTAINER}\n", stderr=f"WARNING: x\n{said}\n\nRun 'docker run --help' for more information\n",
                code=125)  # fmt: skip
    with pytest.raises(BlockedError) as error:
        PLATFORM.submit(make_plan(job, "docker"))
    (problem,) = error.value.problems
    assert (problem.code, problem.path) == (code, path)
    assert said.rpartition("daemon: ")[2] in problem.message
    assert len(daemon.calls("run")) == 1
    assert daemon.calls("--host unix:///var/run/docker.sock container rm") != []


def test_a_name_that_is_taken_is_a_conflict_and_nothing_is_started(daemon, job):
    daemon.has("exited")
    with pytest.raises(ConflictError) as error:
        PLATFORM.submit(make_plan(job, "docker"))
    assert error.value.problems[0].code == "job_name_taken"
    assert daemon.calls("run") == []


def test_a_name_that_was_taken_in_the_meantime_is_a_conflict_and_that_container_stays(daemon, job):
    daemon.has_none()
    daemon.has("created", JOB)
    said = (
        f'docker: Error response from daemon: Conflict. The container name "/{JOB}" is already in use by container "x".'
    )
    daemon.says("run", stderr=said, code=125)
    with pytest.raises(ConflictError):
        PLATFORM.submit(make_plan(job, "docker"))
    assert not any(" rm " in call for call in daemon.calls())


@pytest.mark.parametrize(
    "answer",
    [
        {"stdout": ""},
        {"stderr": "docker: error during connect: Post \"http:///v1.41/containers/x/start\": EOF.", "code": 125},
        {"stderr": "", "code": 125},
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["running", "exited"])
def test_a_lost_answer_is_found_by_the_name_and_never_sent_again(daemon, job, answer, status):
    daemon.has_none()
    daemon.has(status, JOB)
    daemon.says("run", **answer)
    assert PLATFORM.submit(make_plan(job, "docker"))["container_id"] == CONTAINER
    assert len(daemon.calls("run")) == 1


@pytest.mark.parametrize("left", ["nothing", "created"])
def test_a_lost_answer_without_a_running_container_leaves_none_behind(daemon, job, left):
    daemon.has_none()
    if left == "created":
        daemon.has("created", JOB)
    daemon.says("run", stderr="docker: error during connect: EOF.", code=125)
    with pytest.raises(BackendError) as error:
        PLATFORM.submit(make_plan(job, "docker"))
    assert error.value.problems[0].code == "docker_submit_lost"
    assert len(daemon.calls("run")) == 1
    assert any("container rm" in call for call in daemon.calls()) is (left == "created")


def test_a_daemon_that_went_down_while_a_job_was_sent_is_asked_again_later(daemon, job):
    daemon.has_none()
    daemon.says("container inspect", stderr=DOWN, code=1)
    daemon.says("run", stderr=f"docker: {DOWN}", code=125)
    reference = PLATFORM.submit(make_plan(job, "docker"))
    assert "container_id" not in reference
    record = make_record(job, platform="docker", backend_ref=reference)
    with pytest.raises(BackendError):
        PLATFORM.status(record)
    daemon.has("running", JOB)
    with pytest.raises(BackendError):
        PLATFORM.status(record)  # replies that are left are said first
    assert PLATFORM.status(record).state is State.RUNNING
    assert daemon.calls("--host unix:///var/run/docker.sock container inspect")[-1].endswith(JOB)


# --- status -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", State.PENDING), ("restarting", State.PENDING), ("running", State.RUNNING),
        ("paused", State.RUNNING), ("dead", State.UNKNOWN), ("removing", State.UNKNOWN),
    ],
)  # fmt: skip
def test_a_container_that_has_not_ended_is_told_as_it_is(daemon, record, status, state):
    daemon.has(status, JOB)
    now = PLATFORM.status(record)
    assert now.state is state
    assert not any(" rm " in call for call in daemon.calls())


def ended(daemon, record, code, **state):
    daemon.has("exited", JOB, ExitCode=code, **state)
    return PLATFORM.status(record)


def test_an_end_is_complete_only_when_the_trainer_said_so(daemon, record):
    leave(record, "exit_code", "0\n")
    assert ended(daemon, record, 0).err_class == "ERR_PROGRAM"
    say(record, state="SUCCESS", message="done")
    assert PLATFORM.status(record).state is State.COMPLETE


@pytest.mark.parametrize("code", [137, 1])
def test_a_container_whose_memory_ran_out_says_so(daemon, record, code):
    leave(record, "exit_code", f"{code}\n")
    say(record, state="RUNNING", step=1)
    now = ended(daemon, record, code, OOMKilled=True)
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", code)
    assert "out of memory" in now.message
    assert "--option memory" in now.message


@pytest.mark.parametrize("code", [137, 143])
def test_a_container_that_was_killed_from_outside_is_no_failure_of_the_program(daemon, record, code):
    say(record, state="RUNNING", step=1)
    Path(record.results_dir, "checkpoints").mkdir()
    now = ended(daemon, record, code)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_INFRA")
    assert "from outside" in now.message
    assert f"tao-skills retry {now.id}" in now.message


def test_a_training_that_saved_itself_when_the_daemon_ended_can_go_on(daemon, record):
    leave(record, "exit_code", "75\n")
    say(record, state="RUNNING", step=1)
    now = ended(daemon, record, 75)
    assert (now.err_class, now.is_interrupted) == ("ERR_INFRA", True)


def test_a_failure_has_the_cause_that_the_trainer_told(daemon, record):
    leave(record, "exit_code", "3\n")
    say(record, state="FAILURE", diagnosis={"code": "bad", "cause": "A bad video.", "cure": "Drop it."})
    now = ended(daemon, record, 3)
    assert (now.err_class, now.exit_code) == ("ERR_PROGRAM", 3)
    assert "A bad video. Drop it." in now.message


@pytest.mark.parametrize(("code", "part"), [(127, "--option python"), (1, "No module named 'torch'")])
def test_a_trainer_that_never_reported_is_told_by_the_end_of_its_log(daemon, record, code, part):
    leave(record, "exit_code", f"{code}\n")
    leave(record, "job.log", "python3: No module named 'torch'\n\n")
    assert part in ended(daemon, record, code).message


def test_a_container_that_did_not_find_its_script_names_the_folder_to_share(daemon, record):
    daemon.says("logs", stderr="bash: /run/launch.sh: No such file or directory\n")
    now = ended(daemon, record, 127)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_PROGRAM")
    assert "launch.sh: No such file" in now.message
    assert f"{record.results_dir} is shared" in now.message


def test_the_container_is_removed_once_its_end_is_kept_and_is_told_the_same_afterwards(daemon, record):
    say(record, state="RUNNING", step=1)
    daemon.has("exited", JOB, ExitCode=137)
    daemon.has_none()
    first = PLATFORM.status(record)
    assert daemon.calls("container rm") == [f"docker container rm {CONTAINER}"]
    assert PLATFORM.status(record) == first


def test_a_container_whose_end_cannot_be_kept_stays(daemon, record):
    Path(record.results_dir, "logs").rmdir()
    Path(record.results_dir, "logs").touch()
    assert ended(daemon, record, 137).state is State.ERROR
    assert daemon.calls("container rm") == []


def test_a_container_that_is_to_be_kept_stays(daemon, job, record):
    kept = make_record(job, platform="docker", backend_ref={**record.backend_ref, "keep": 1})
    assert ended(daemon, kept, 137).state is State.ERROR
    assert daemon.calls("container rm") == []


def test_a_job_that_the_daemon_forgot_is_known_by_what_it_left(daemon, record):
    daemon.has_none()
    assert PLATFORM.status(record).state is State.UNKNOWN
    say(record, state="SUCCESS", message="done")
    leave(record, "exit_code", "0\n")
    assert PLATFORM.status(record).state is State.COMPLETE


def test_the_last_files_of_another_machine_are_waited_for(daemon, job, record):
    far = make_record(job, platform="docker", backend_ref={"docker_host": "ssh://me@gpu1", "grace_seconds": 7})
    assert ended(daemon, far, 0, FinishedAt="2999-01-01T00:00:00.123456789Z").state is State.RUNNING
    leave(record, "exit_code", "0\n")
    say(record, state="SUCCESS")
    assert PLATFORM.status(far).state is State.COMPLETE


def test_a_job_of_another_machines_daemon_is_neither_ended_nor_cancelled_here(daemon, job, record):
    far = make_record(job, platform="docker", backend_ref={**record.backend_ref, "machine": "gpu1.lab"})
    now = PLATFORM.status(far)
    assert (now.state, "gpu1.lab" in now.message) == (State.UNKNOWN, True)
    with pytest.raises(BackendError) as error:
        PLATFORM.cancel(far)
    assert error.value.problems[0].code == "other_host"
    assert daemon.calls() == []


def test_a_daemon_that_is_down_is_an_error_and_no_state(daemon, record):
    daemon.says("container inspect", stderr=DOWN, code=1)
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError) as error:
            verb(record)
        assert (error.value.exit_code, error.value.problems[0].code) == (6, "docker_unreachable")


# --- logs and cancel ----------------------------------------------------------------------------------------------


def test_logs_are_followed_to_their_last_line(daemon, record):
    leave(record, "job.log", "one\ntwo")
    daemon.has("exited", JOB, ExitCode=1)
    assert "".join(PLATFORM.logs(record, follow=True)) == "one\ntwo\n"


def test_a_cancelled_job_gets_its_grace_period(daemon, record):
    daemon.has("running", JOB)
    daemon.has("exited", JOB, ExitCode=75)
    PLATFORM.cancel(record)
    PLATFORM.cancel(record)
    assert daemon.calls("stop") == [f"docker stop -t 7 {CONTAINER}"]
    assert Path(record.results_dir, "logs", "cancel_requested").exists()
    leave(record, "exit_code", "75\n")
    assert PLATFORM.status(record).state is State.CANCELED


def test_a_paused_container_is_woken_to_be_stopped(daemon, record):
    daemon.has("paused", JOB)
    daemon.has_none()
    PLATFORM.cancel(record)
    assert [call.split()[1] for call in daemon.calls()] == ["container", "unpause", "stop", "container"]


def test_a_container_that_never_ran_is_removed(daemon, record):
    daemon.has("created", JOB)
    PLATFORM.cancel(record)
    assert daemon.calls("stop") == []
    assert daemon.calls("container rm") == [f"docker container rm {CONTAINER}"]


def test_a_container_that_does_not_stop_is_an_error(daemon, record):
    daemon.has("running", JOB)
    daemon.says("stop", stderr="Error response from daemon: tried to kill container, but did not receive an exit event",
                code=1)  # fmt: skip
    with pytest.raises(BackendError) as error:
        PLATFORM.cancel(record)
    assert error.value.problems[0].fix == f"docker kill {JOB}"
    assert "did not receive an exit event" in str(error.value)


def test_the_image_of_a_missing_entry_is_pulled_by_its_name():
    assert images.get("a/b:1") == "docker pull a/b:1"


@pytest.mark.parametrize("state", [{}, {"OOMKilled": True}])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_training_that_had_succeeded_is_complete_though_its_container_was_killed(daemon, record, state, recorded):
    if recorded:
        leave(record, "exit_code", "137\n")
    say(record, state="SUCCESS", message="Trained 3 epochs")
    now = ended(daemon, record, 137, **state)
    assert (now.state, now.err_class) == (State.COMPLETE, None)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_kill_without_a_known_cause_is_unexplained(daemon, record, recorded):
    if recorded:
        leave(record, "exit_code", "137\n")
    say(record, state="RUNNING", step=1)
    now = ended(daemon, record, 137)
    assert (now.err_class, now.is_unexplained) == ("ERR_INFRA", True)
