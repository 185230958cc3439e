"""A real Slurm cluster of two nodes with accounting (tests/support/slurm_cluster.sh), and real jobs on it."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import small_training
from needs import lacking
from runs import eventually, make_job, make_plan

from tao_skill_bank.contracts import PlatformRequest, Resources, State, Workload
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.jobs import service
from tao_skill_bank.platforms import torchrun
from tao_skill_bank.platforms.slurm import status as slurm_status
from tao_skill_bank.platforms.slurm.platform import PLATFORM
from tao_skill_bank.runs import plan_versions

SUPPORT = Path(__file__).parents[1] / "support"
CLUSTER = SUPPORT / "slurm_cluster.sh"
COMMANDS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "ip")
TWO_NODES = Resources(nodes=2, processes_per_node=1, device="cpu")

pytestmark = pytest.mark.usefixtures("fake_trainer", "cluster")


def why_not() -> str:
    """Return what this machine lacks for a cluster, or nothing."""
    if os.geteuid() != 0:
        return "a Slurm cluster needs root"
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing and shutil.which("apt-get") is None:
        return f"a Slurm cluster needs {', '.join(missing)}, and there is no apt-get to install them"
    tried = subprocess.run(
        ["unshare", "--net", "--uts", "--mount", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"a Slurm cluster needs namespaces: {tried.stderr.strip()}"


@pytest.fixture(scope="module")
def slurm_conf():
    if reason := why_not():
        lacking(reason)
    folder = tempfile.mkdtemp(prefix="tao-slurm-", dir="/var/tmp")  # munge refuses a private folder
    number = str(os.getpid() % 200)
    try:
        started = subprocess.run(
            ["bash", CLUSTER, "up", folder, number],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if started.returncode != 0 and "Unable to locate package" in started.stderr:
            lacking(f"a Slurm cluster needs Debian's packages: {started.stderr.strip().splitlines()[-1]}")
        assert started.returncode == 0, started.stderr
        yield started.stdout.split()[-1]
    finally:
        subprocess.run(["bash", CLUSTER, "down", folder, number], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(slurm_conf, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm_conf)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def launch(tmp_path):
    """Launch jobs on two nodes through the job store, and leave none of them behind."""
    launched = []

    def launch_job(*acts, options=None, **changes):
        values = {"resources": TWO_NODES, "distributed": True, **changes}
        platform = PlatformRequest("slurm", options={"time_limit": "10", "grace_seconds": 20, **(options or {})})
        job = make_job(tmp_path / f"run {len(launched)}", acts, platform=platform, **values)
        launched.append(service.launch(make_plan(job, "slurm")))
        return launched[-1]

    yield launch_job
    for handle in launched:
        if not handle.status().state.is_terminal:
            handle.cancel()


@pytest.fixture
def train(launch, tmp_path):
    """Launch the small training on two nodes; `changes` are of its spec."""

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
    job = make_job(
        folder, module="small_training", config={"run_dir": str(folder), "epochs": 3}, config_file="train.toml"
    )
    plan = make_plan(job)
    (folder / "train.toml").write_text(plan.files["train.toml"])
    paths = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(torchrun.command(job), check=True, env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    return small_training.losses(folder)


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def until(handle, *states, seconds=1200):
    return eventually(lambda: (now := handle.status()).state in states and now, seconds=seconds)


def number_of(handle):
    return str(handle.record.backend_ref["slurm_job_id"])


def start_again(handle, when="now+20"):
    """Let a requeued job start soon. Slurm waits for two minutes, so that nothing meant for its first run hits it."""
    number = number_of(handle)

    def is_waiting():
        return slurm("squeue", "-h", f"--jobs={number}", "-o", "%T").strip() == "PENDING"

    def has_left():
        titles = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
        return not any(f"slurmstepd: [{number}." in title for title in titles)

    def may_start():
        words = ("scontrol", "update", f"JobId={number}", f"StartTime={when}")
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    for step in (is_waiting, has_left, may_start):
        eventually(step)


def is_resumed(node):
    words = ("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_a_training_on_two_nodes_completes_with_the_losses_of_one_process(train, expected_losses):
    handle = train()
    now = until(handle, *(state for state in State if state.is_terminal))
    assert (now.state, now.exit_code) == (State.COMPLETE, 0), "\n".join(handle.logs())
    folder = handle.run_directory.path
    assert small_training.losses(folder) == pytest.approx(expected_losses, rel=1e-5)
    assert sorted(path.name for path in (folder / "exit").iterdir()) == ["rank_0.json", "rank_1.json"]
    nodes = slurm("sacct", "-n", "-X", "-P", "-j", number_of(handle), "-o", "NodeList")
    assert nodes.strip() == "n[1-2]"


def test_a_training_that_saved_itself_before_its_time_limit_is_requeued_and_goes_on(train, expected_losses):
    handle = train(signal_after=3, signaled_rank=1)
    folder = handle.run_directory.path
    eventually(lambda: handle.run_directory.exit_code() == 75, seconds=1200)
    assert len(small_training.losses(folder)) == 3
    assert not handle.status().state.is_terminal
    start_again(handle)
    assert until(handle, State.COMPLETE, State.ERROR).state is State.COMPLETE, "\n".join(handle.logs())
    assert small_training.losses(folder) == pytest.approx(expected_losses, rel=1e-5)
    assert slurm("sacct", "-n", "-X", "-P", "-j", number_of(handle), "-o", "State").strip() == "COMPLETED"


def test_a_job_that_lost_a_node_is_requeued_and_ends_well(launch):
    handle = launch("start", "step:1", "wait_for:go", "succeed")
    until(handle, State.RUNNING)
    eventually(lambda: handle.status().progress.get("step") == 1)
    slurm("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    eventually(lambda: handle.status().state is State.PENDING)
    eventually(lambda: slurm("sinfo", "-h", "--nodes=n2", "-o", "%T").strip() == "idle" or is_resumed("n2"))
    start_again(handle, "now+8")  # the controller goes on ending the first run on the node that came back
    (handle.run_directory.path / "go").touch()
    assert until(handle, State.COMPLETE, State.ERROR).state is State.COMPLETE


def test_a_failing_job_ends_as_error_with_its_cause_and_its_log_is_followed(launch):
    handle = launch("start", "say:hello", "fail:A bad video.")
    lines = list(handle.logs(follow=True))
    now = handle.status()
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 1)
    assert "A bad video." in now.message
    assert lines.count("hello") == 2  # both nodes write the one log


def test_a_cancelled_training_saves_itself_and_is_gone(launch):
    handle = launch("start", "save_on_signal", "step:1", "wait_for:never", resume_key="resume")
    eventually(lambda: handle.status().progress.get("step") == 1, seconds=600)
    now = handle.cancel()
    assert now.state is State.CANCELED
    assert "All of it is in step_7." in now.message
    assert slurm("squeue", "-h", f"--name={handle.id}") == ""
    assert handle.cancel().state is State.CANCELED


def test_a_job_that_waits_is_cancelled(launch):
    handle = launch(options={"exclude": "n2"}, resources=Resources(nodes=1, device="cpu"))
    slurm("scontrol", "hold", number_of(handle))
    assert handle.cancel().state in (State.CANCELED, State.COMPLETE)


@pytest.mark.parametrize(
    ("options", "resources", "code"),
    [
        ({"partition": "night"}, TWO_NODES, "unknown_partition"),
        ({"time_limit": "2:00:00"}, TWO_NODES, "time_limit_exceeded"),
        ({"exclude": "n9"}, TWO_NODES, "unknown_node"),
        ({"constraint": "h100"}, TWO_NODES, "unknown_constraint"),
        ({"nodelist": "n9"}, TWO_NODES, "unknown_node"),
        ({"reservation": "lab-week"}, TWO_NODES, "reservation_refused"),
        ({"licenses": "ansys:3"}, TWO_NODES, "unknown_license"),
        ({"gres": "nvme:1"}, TWO_NODES, "no_such_gpus"),
        ({"extra": "--threads-per-core=99"}, TWO_NODES, "no_such_nodes"),
        ({"mem": "900G"}, TWO_NODES, "no_such_nodes"),
        ({}, Resources(nodes=3, device="cpu"), "no_such_nodes"),
        ({}, Resources(processes_per_node=1, device="cuda"), "no_such_gpus"),
    ],
)
def test_what_the_cluster_cannot_give_blocks_the_plan(tmp_path, options, resources, code):
    job = make_job(tmp_path, resources=resources, platform=PlatformRequest("slurm", options=options))
    assert [(found.code, found.severity) for found in PLATFORM.probe(job)] == [(code, "blocking")]


SITE_RULES = [
    "Project lab-7 has used 102% of its GPU hours.",
    "Please ask for at least 4 nodes, or use partition 'long'\nsee https://hpc.example.org/limits",
    "Connection refused for guests: unable to contact slurm's licence server",
    "Das Kontingent der Gruppe ist erschöpft",
    "memory must be a multiple of 8G on this site; invalid partition; time limit",
    "4711",
]


@pytest.fixture
def site_rules(slurm_conf):
    """Have the cluster's own plugin refuse every job for reasons that a test writes."""
    path = Path(slurm_conf).with_name("refusal")
    yield path
    path.unlink(missing_ok=True)


def test_what_a_plugin_of_the_site_refuses_blocks_in_its_words_and_leaves_no_job(site_rules, launch, tmp_path):
    job = make_job(tmp_path, resources=TWO_NODES, platform=PlatformRequest("slurm"))
    for said in SITE_RULES:
        site_rules.write_text(said)
        (found,) = PLATFORM.probe(job)
        assert (found.code, found.severity) == ("slurm_refused", "blocking")
        assert [line for line in said.splitlines() if line not in found.message] == []
    with pytest.raises(BlockedError, match=SITE_RULES[-1]):
        launch()
    (record,) = service.list_jobs()
    assert slurm("squeue", "-h", f"--name={record.id}") == ""


def test_what_a_site_needs_is_taken_by_the_cluster(launch):
    options = {"licenses": "ansys:1", "nodelist": "n[1-2]", "extra": "--exclusive --comment=tao/1 --nice=5"}
    handle = launch("start", "step:1", "succeed", options=options)
    shown = slurm("scontrol", "show", "job", number_of(handle), "--oneliner")
    assert [part for part in ("Licenses=ansys:1", "ReqNodeList=n[1-2]", "Comment=tao/1") if part not in shown] == []
    assert until(handle, *(state for state in State if state.is_terminal)).state is State.COMPLETE


def test_a_retry_leaves_out_the_node_that_failed_under_the_job(launch, monkeypatch):
    monkeypatch.setattr(slurm_status, "REQUEUE_SECONDS", 2.0)
    one_node = {"resources": Resources(nodes=1, device="cpu"), "distributed": False, "options": {"requeue": "false"}}
    handle = launch("start", "step:1", "wait_for:never", **one_node)
    eventually(lambda: handle.status().progress.get("step") == 1)
    node = slurm("squeue", "-h", f"--jobs={number_of(handle)}", "-o", "%N").strip()
    slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        now = until(handle, *(state for state in State if state.is_terminal))
        assert (now.state, now.err_class) == (State.ERROR, "ERR_INFRA")
        job = plan_versions.read_launched(handle.run_directory.plan_file).job
        assert PLATFORM.avoiding(handle.record, job) == {"exclude": node}
        assert PLATFORM.avoiding(handle.record, replace(job, resources=TWO_NODES)) == {}  # too few are left
    finally:
        eventually(lambda: slurm("sinfo", "-h", f"--nodes={node}", "-o", "%T").strip() == "idle" or is_resumed(node))


def test_a_refused_submission_leaves_no_job(launch):
    with pytest.raises(BlockedError) as error:
        launch(options={"partition": "night"})
    assert error.value.problems[0].code == "unknown_partition"
    (record,) = service.list_jobs()
    assert record.state is State.ERROR
    assert slurm("squeue", "-h", f"--name={record.id}") == ""
