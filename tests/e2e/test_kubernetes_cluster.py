"""Real jobs on the fake API server (tests/support/fake_kubernetes.py): its pods are processes, or containers."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import small_training
from fake_kubelet import ContainerRunner, ProcessRunner
from fake_kubernetes import FakeKubernetes
from needs import lacking
from runs import eventually, make_job, make_plan

from tao_skill_bank.contracts import PlatformRequest, Request, Resources, State, Workload
from tao_skill_bank.jobs import service
from tao_skill_bank.planning import dispatch
from tao_skill_bank.platforms import torchrun
from tao_skill_bank.runs.run_directory import RunDirectory

SUPPORT = Path(__file__).parents[1] / "support"
TWO_PODS = Resources(nodes=2, processes_per_node=1, device="cpu")
IMAGE = "tao-test:bare"  # of docker_daemon.sh: no programs, so that this machine's are mounted


@pytest.fixture(autouse=True)
def _embedded_models() -> None:
    """Make models in the state folder itself: containers do not see what it links to."""


@pytest.fixture(scope="module")
def docker_host():
    """Return the address of a Docker daemon of this test's own."""
    if os.geteuid() != 0:
        lacking("pods as containers need a Docker daemon, which needs root")
    folder = tempfile.mkdtemp(prefix="tao-pods-", dir="/var/tmp")
    try:
        code, said = call_script("up", folder)
        if code != 0 and ("Unable to locate package" in said or "cgroup" in said):
            lacking(f"a Docker daemon could not be had: {said.strip().splitlines()[-1]}")
        assert code == 0, said
        yield f"unix://{folder}/docker.sock"
    finally:
        call_script("down", folder)
        shutil.rmtree(folder, ignore_errors=True)


def call_script(verb, folder):
    """Run docker_daemon.sh; with its output in a file, since the daemon keeps a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        words = ["bash", SUPPORT / "docker_daemon.sh", verb, folder]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        said.seek(0)
        return done.returncode, said.read()


@pytest.fixture
def runner(request, tmp_path, monkeypatch):
    """What runs the pods: processes, unless a test asks for containers as well."""
    wanted = getattr(request, "param", "processes")
    if wanted == "processes":
        return ProcessRunner(tmp_path / "pods")
    try:
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_host"))
    except pytest.skip.Exception:
        if wanted == "containers":
            raise
        return ProcessRunner(tmp_path / "pods")  # the better of the two
    return ContainerRunner(tmp_path / "pods", IMAGE, tmp_path)


in_processes_and_containers = pytest.mark.parametrize("runner", ["processes", "containers"], indirect=True)


@pytest.fixture
def cluster(tmp_path, runner):
    fake = FakeKubernetes(tmp_path, runner).start()
    fake.put("PersistentVolumeClaim", "data", spec={"accessModes": ["ReadWriteMany"]}, status={"phase": "Bound"})
    yield fake
    fake.stop()


@pytest.fixture
def options(cluster, tmp_path):
    return {
        "kubeconfig": cluster.kubeconfig(), "claim": "data", "claim_path": str(tmp_path), "python": sys.executable,
        "grace_seconds": 30,
    }  # fmt: skip


@pytest.fixture
def launch(options, tmp_path):
    """Launch jobs on two pods through the job store, and leave none of them behind."""
    launched = []

    def launch_job(*acts, **changes):
        values = {"resources": TWO_PODS, "distributed": True, "image": "registry/image:1", **changes}
        platform = PlatformRequest("kubernetes", options={**options, **values.pop("options", {})})
        job = make_job(tmp_path / f"run {len(launched)}", acts, platform=platform, **values)
        launched.append(service.launch(make_plan(job, "kubernetes")))
        return launched[-1]

    yield launch_job
    for handle in launched:
        if not handle.status().state.is_terminal:
            handle.cancel()


@pytest.fixture
def train(launch, tmp_path):
    """Launch the small training on two pods; `changes` are of its spec."""

    def launch_training(**changes):
        spec = {"run_dir": str(tmp_path / "run 0"), "shard": 2, "epochs": 3, **changes}
        return launch(
            module="small_training", config=spec, config_file="config/train.toml", resume_key="resume",
            workload=Workload(trains=True),
        )  # fmt: skip

    return launch_training


@pytest.fixture(scope="module")
def expected_losses(tmp_path_factory):
    """The losses of the same training in one process, without a cluster."""
    folder = tmp_path_factory.mktemp("alone")
    config = {"run_dir": str(folder), "epochs": 3}
    job = make_job(folder, module="small_training", config=config, config_file="train.toml")
    (folder / "train.toml").write_text(make_plan(job).files["train.toml"])
    paths = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(torchrun.command(job), check=True, env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    return small_training.losses(folder)


def until(handle, *states, seconds=1800):
    return eventually(lambda: (now := handle.status()).state in states and now, seconds=seconds)


def until_over(handle):
    return until(handle, State.COMPLETE, State.ERROR, State.CANCELED)


def pod_of(cluster, index):
    """Return the name of the pod of an index that runs."""
    found = [pod["metadata"] for pod in cluster.all("Pod") if pod["status"]["phase"] == "Running"]
    return next((pod["name"] for pod in found if f"-{index}-" in pod["name"]), None)


def log_of(handle):
    folder = handle.run_directory.path / "logs"
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))


@in_processes_and_containers
def test_a_training_on_two_pods_completes_with_the_losses_of_one_process(train, expected_losses, cluster):
    handle = train()
    now = until_over(handle)
    assert (now.state, now.exit_code) == (State.COMPLETE, 0), log_of(handle)
    folder = handle.run_directory.path
    assert small_training.losses(folder) == pytest.approx(expected_losses, rel=1e-5)
    assert sorted(path.name for path in (folder / "exit").iterdir()) == ["rank_0.json", "rank_1.json"]
    cluster.controllers.delete("Job", "lab", handle.id)
    eventually(lambda: cluster.names("Job", "Pod", "Service", "ConfigMap") == [])


def test_a_training_that_saved_itself_is_started_again_and_goes_on(train, expected_losses):
    handle = train(signal_after=3, signaled_rank=1)
    assert until_over(handle).state is State.COMPLETE, log_of(handle)
    assert small_training.losses(handle.run_directory.path) == pytest.approx(expected_losses, rel=1e-5)
    assert "Attempt 2 of 2 pod(s), resumed." in log_of(handle)


@pytest.mark.parametrize(
    ("runner", "index", "grace_seconds"),
    [("processes", 1, None), ("processes", 0, 0), ("processes", 1, 0), ("containers", 1, 0)],
    indirect=["runner"],
    ids=["preempted", "first lost", "second lost", "second lost in containers"],
)
def test_a_pod_that_the_cluster_takes_away_is_replaced_and_all_go_on_together(
    launch, cluster, expected_losses, tmp_path, index, grace_seconds
):
    folder = tmp_path / "run 0"
    spec = {"run_dir": str(folder), "shard": 2, "epochs": 3, "wait_after": 3, "wait_for": str(tmp_path / "go")}
    handle = launch(
        module="waiting_training", config=spec, config_file="config/train.toml", resume_key="resume",
        workload=Workload(trains=True),
    )  # fmt: skip
    losses = folder / "losses.jsonl"
    eventually(lambda: losses.is_file() and len(small_training.losses(folder)) >= 3, seconds=600)
    cluster.controllers.evict(pod_of(cluster, index), grace_seconds=grace_seconds)
    (tmp_path / "go").touch()
    assert until_over(handle).state is State.COMPLETE, log_of(handle)
    assert small_training.losses(folder) == pytest.approx(expected_losses, rel=1e-5)
    assert "Attempt 2 of 2 pod(s), resumed." in log_of(handle)


@in_processes_and_containers
def test_a_failing_job_ends_at_once_as_error_with_its_cause_and_its_log_is_followed(launch, cluster):
    handle = launch("start", "say:hello", "fail:A bad video.")
    lines = list(handle.logs(follow=True))
    now = handle.status()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 1)
    assert "A bad video." in now.message
    own = list(itertools.takewhile(lambda line: not line.startswith("---"), lines))
    assert own.count("hello") == 1  # pod 0's; after it the end of the other's, where that failed first
    assert len([pod for pod in cluster.all("Pod") if "-0-" in pod["metadata"]["name"]]) <= 1


def test_a_train_job_runs_its_pods_and_is_followed_and_cancelled(launch, cluster, options):
    cluster.has_trainer = True
    del options["grace_seconds"]
    handle = launch("start", "say:hello", "step:1", "wait_for:go", "succeed", options={"resource": "trainjob"})
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=1200)
    (handle.run_directory.path / "go").touch()
    assert "hello" in list(handle.logs(follow=True))
    assert until_over(handle).state is State.COMPLETE, log_of(handle)
    assert "TrainJob" in cluster.names("TrainJob")[0]


def test_a_cancelled_training_saves_itself_and_nothing_of_it_is_left(launch, cluster):
    handle = launch("start", "save_on_signal", "step:1", "wait_for:never", resume_key="resume")
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=600)
    now = handle.cancel()
    assert now.state is State.CANCELED
    assert "All of it is in step_7." in now.message
    assert cluster.names("Job", "Pod", "Service", "ConfigMap") == []
    assert handle.cancel().state is State.CANCELED


def test_a_pod_that_runs_out_of_memory_fails_the_job_and_says_so(launch, cluster):
    handle = launch("start", "step:1", "wait_for:never", resources=Resources(device="cpu"))
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=600)
    cluster.controllers.run_out_of_memory(pod_of(cluster, 0))
    now = until_over(handle)
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 137)
    assert "--option memory" in now.message


def test_a_job_that_is_never_seen_from_here_is_told_by_its_pods(launch, cluster, monkeypatch, tmp_path):
    handle = launch("start", "say:hello", "step:1", "wait_for:go", "succeed")
    run = handle.run_directory.path
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=600)
    elsewhere = tmp_path / "here"
    monkeypatch.setattr(RunDirectory, "of", lambda *_: RunDirectory(elsewhere))
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=300)
    cluster.cut_logs_after = 2
    lines = handle.logs(follow=True)
    first = next(lines)
    (run / "go").touch()
    rest = [first, *lines]
    assert [line for line in rest if line == "hello"] == ["hello"]
    assert not [line for line in rest if line.startswith("tao-status")]
    now = until_over(handle)
    assert (now.state, now.message) == (State.COMPLETE, "done")
    assert not elsewhere.exists()


@pytest.mark.parametrize("runner", ["containers if possible"], indirect=True)
def test_the_tiny_model_trains_on_two_pods_and_its_adapter_is_there(sample_data, options, tmp_path):
    request = Request(
        "tao-finetune-cosmos-reason",
        "train",
        automl_policy="off",
        datasets={"train": str(shutil.copytree(sample_data / "train", tmp_path / "data"))},
        overrides={
            "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
            "train.epoch": 1,
            "train.train_batch_per_replica": 2,
            "train.param_dtype": "float32",
            "train.train_policy.mini_batch": 2,
            "train.train_policy.dataloader_num_workers": 0,
            "validation.enable": False,
            "custom.vision.nframes": 4,
        },
        platform=PlatformRequest("kubernetes", gpus=1, nodes=2, options=options),
        results_dir=str(tmp_path / "run"),
        image="registry/image:1",
    )
    plan = dispatch.plan(request)
    assert [found.code for found in plan.findings if found.blocks_run] == []
    handle = dispatch.run(plan)
    now = handle.wait(timeout_seconds=1800)
    assert now.state is State.COMPLETE, log_of(handle)
    metrics = [json.loads(line) for line in handle.run_directory.metrics_file.read_text().splitlines()]
    assert sum("train/loss_avg" in line for line in metrics) == 3  # 12 records / (2 pods x batch 2)
    assert list((tmp_path / "run").rglob("adapter_config.json"))


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("image", (3, "image_missing")),
        ("right", (4, "credential_forbidden")),
        ("quota", (3, "quota_needs_limits")),
        ("policy", (3, "policy_refused")),
        ("server", (6, "kubernetes_unreachable")),
    ],
)
def test_a_launch_that_the_cluster_refuses_ends_with_its_code_and_leaves_nothing(
    cluster, options, data, command_line, trouble, expected
):
    if trouble == "image":
        cluster.missing_images.add("registry/image:1")
    if trouble == "right":
        cluster.denied.add(("create", "jobs"))
    if trouble == "quota":
        cluster.policies["Pod"] = (403, 'pods "x" is forbidden: failed quota: team: must specify limits.cpu')
    if trouble == "policy":
        cluster.policies["Job"] = (422, 'admission webhook "gate.corp" denied the request: no training on Fridays')
    if trouble == "server":
        options["kubeconfig"] = cluster.kubeconfig(server="http://127.0.0.1:9")
    words = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    got, document = command_line(
        *("run", "cosmos-rl", "train", "--train", data / "train", "--automl-policy", "off", "--platform", "kubernetes"),
        *("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason", "--set", "validation.enable=false"),
        *("--set", "train.train_batch_per_replica=4", "--image", "registry/image:1"),
        *("--results-dir", data.parent / "run", *words),
    )
    assert (got, *(found["code"] for found in document["errors"])) == expected
    assert all(found["fix"] for found in document["errors"])
    eventually(lambda: cluster.names("Job", "Pod", "Service", "ConfigMap") == [])
