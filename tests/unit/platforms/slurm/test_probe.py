"""What a cluster refuses, in words that nobody foresaw."""

import pytest

from tao_skill_bank.contracts import Finding, Input, Resources, Workload
from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.planning import gate
from tao_skill_bank.platforms.slurm.platform import PLATFORM

PARTITIONS = "gpu*|1-00:00:00|up\nlong|infinite|up\n"
FAILED = "Batch job submission failed:"
INVENTED = [
    f"sbatch: error: Project lab-7 has used 102% of its GPU hours.\nsbatch: error: {FAILED} Unspecified error",
    "sbatch: error: job_submit_lua: please ask for at least 4 nodes in 'gpu', or use 'long'\n"
    f"sbatch: error: see https://hpc.example.org/limits\nsbatch: error: {FAILED} Job violates policy",
    f"sbatch: error: Connection to the license server is not allowed for guests\nsbatch: error: {FAILED} 12345",
    "allocation failure: Requested reservation is invalid",
    "sbatch: error: lua: connection refused by policy 7",
    "sbatch: error: cli_filter: timed out waiting for your two-factor consent, and so denied",
    "allocation failure: Access/permission denied",
    "Sorry, wrapper of the day: no jobs on Fridays.",
    "sbatch: error: *** memory must be a multiple of 8G on this site ***\n"
    f"sbatch: error: {FAILED} Requested node configuration is not available",
    f"\x1b[31msbatch: error: Mémoire insuffisante: demandez à l'équipe\x1b[0m\nsbatch: error: {FAILED} Refusé",
    "sbatch: error: QOSMaxWallDurationPerJobLimit\n"
    f"sbatch: error: {FAILED} Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "allocation failure: Invalid license specification",
    f"sbatch: error: Das Kontingent der Gruppe ist erschöpft\nsbatch: error: {FAILED} Unspecified error",
]
UNREACHABLE = [
    "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
    "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
    "allocation failure: Unable to contact slurm controller (connect failure)",
    "sbatch: fatal: Could not establish a configuration source",
    'sbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2"',
    "allocation failure: Slurm controller in standby mode",
    "",
]


def parts(text: str) -> list[str]:
    """Return the words of each line without what names the command, as they have to be repeated."""
    lines = [line.replace("\x1b[31m", "").replace("\x1b[0m", "") for line in text.splitlines()]
    return [line.removeprefix("sbatch: error: ") for line in lines]


@pytest.mark.parametrize("said", INVENTED)
@pytest.mark.parametrize("channel", ["stdout", "stderr"])
def test_a_refusal_in_any_words_blocks_the_plan_and_repeats_them(cluster, job, said, channel):
    cluster.says("sinfo", PARTITIONS)
    cluster.says("sbatch", **{channel: f"{said}\n"}, code=1)
    (found,) = PLATFORM.probe(job)
    assert (found.severity, bool(found.fix)) == ("blocking", True)
    assert [part for part in parts(said) if part not in found.message] == []
    assert "\x1b" not in found.message


@pytest.mark.parametrize("said", INVENTED)
def test_a_refusal_at_the_launch_is_one_error_that_repeats_it(cluster, job, said, slurm_plan):
    cluster.says("sbatch", stderr=f"{said}\n", code=1)
    with pytest.raises(BlockedError) as error:
        PLATFORM.submit(slurm_plan(job))
    assert error.value.exit_code == 3
    assert [part for part in parts(said) if part not in error.value.problems[0].message] == []
    assert len(cluster.calls("sbatch")) == 1
    assert cluster.calls("scancel") == []


@pytest.mark.parametrize("said", UNREACHABLE)
def test_a_controller_that_does_not_answer_warns_a_plan_and_stops_a_launch(cluster, job, said):
    cluster.says("sinfo", PARTITIONS)
    cluster.says("sbatch", stderr=said, code=1)
    (found,) = PLATFORM.probe(job)
    assert (found.code, found.severity, found.blocks_run) == ("slurm_unreachable", "warning", True)
    assert said.removeprefix("sbatch: error: ").removeprefix("sbatch: fatal: ") in found.message
    with pytest.raises(BackendError) as error:
        gate.raise_if_blocked([found])
    assert error.value.exit_code == 6


def test_a_login_node_without_slurm_is_no_refusal(cluster, slurm_job):
    cluster.says("ssh", stderr="bash: line 1: sinfo: command not found", code=127)
    (found,) = PLATFORM.probe(slurm_job({"host": "me@login"}))
    assert (found.code, found.severity, found.blocks_run) == ("slurm_missing", "warning", True)


@pytest.mark.parametrize(
    "text",
    [
        "Welcome to the cluster!\n  NODES 2 of 3 up\n",
        "<html><body>Log in</body></html>",
        "gpu,1-00:00:00,up\n",
        "PARTITION AVAIL\ngpu up\n",
        "1|2\n",
    ],
)
def test_partitions_in_another_form_are_quoted_and_sbatch_decides(cluster, slurm_job, text):
    cluster.says("sinfo", text)
    (found,) = PLATFORM.probe(slurm_job({"partition": "gpu"}))
    assert (found.code, found.severity) == ("slurm_not_understood", "warning")
    assert any(line.strip() in found.message for line in text.splitlines())
    cluster.says("sbatch", stderr="allocation failure: Invalid partition name specified", code=1)
    PLATFORM.probe(slurm_job())
    assert [one.code for one in PLATFORM.probe(slurm_job())] == ["slurm_not_understood", "unknown_partition"]


DEFAULT_FORMAT = """\
Maintenance on Friday | please save your work
PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST
gpu*         up 1-00:00:00      2   idle n[1-2]
gpu*         up 1-00:00:00      1  down* n3
off        down   infinite      1   idle n4
"""


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (DEFAULT_FORMAT, {"partition": "gqu"}, "unknown_partition"),
        (DEFAULT_FORMAT, {"partition": "off"}, "partition_down"),
        (DEFAULT_FORMAT, {"time_limit": "2-0"}, "time_limit_exceeded"),
        (f"*** maintenance ***\n{PARTITIONS}", {"time_limit": "2-0"}, "time_limit_exceeded"),
        (f"*** maintenance ***\n{PARTITIONS}", {"partition": "off"}, "unknown_partition"),
    ],
)
def test_partitions_are_read_below_a_banner_and_in_the_default_format(cluster, slurm_job, text, options, code):
    cluster.says("sinfo", text)
    assert [found.code for found in PLATFORM.probe(slurm_job(options))] == [code]
    assert PLATFORM.probe(slurm_job({"time_limit": "1:00:00"})) == []


def test_a_wrapper_of_sinfo_that_refuses_is_quoted_with_what_sbatch_says(cluster, job):
    cluster.says("sinfo", stderr="sinfo is disabled: use mysite-queues", code=1)
    cluster.says("sbatch", stderr="allocation failure: Invalid account", code=1)
    found = PLATFORM.probe(job)
    assert [(one.code, one.severity) for one in found] == [
        ("slurm_not_understood", "warning"), ("unknown_account", "blocking")
    ]  # fmt: skip
    assert "use mysite-queues" in found[0].message


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("sbatch: Job 7 to start at 2026-11-30T10:00:00 using 2 processors on nodes n1 in partition gpu", []),
        ("*** authorized use only ***\n", []),
        ("sbatch: lua: This job is charged to lab.", ["info"]),
        ("sbatch: error: spank_mysite: token expires in 2 h", ["warning"]),
    ],
)
def test_what_a_plugin_says_of_a_job_that_it_takes_is_shown(cluster, job, said, expected):
    cluster.says("sinfo", PARTITIONS)
    cluster.says("sbatch", stderr=said)
    found = PLATFORM.probe(job)
    assert [one.severity for one in found] == expected
    assert all(said.partition("sbatch: ")[2].removeprefix("error: ") in one.message for one in found)
    assert not any(one.blocks_run for one in found)


def test_gpus_by_gres_are_as_many_as_the_job_has(cluster, slurm_job):
    cluster.says("sinfo", PARTITIONS)
    job = slurm_job({"gres": "gpu:h100:2"}, resources=Resources(processes_per_node=2, device="cuda"))
    assert PLATFORM.probe(job) == []
    (call,) = cluster.calls("sbatch")
    assert "--gres=gpu:h100:2" in call
    assert "--gpus-per-node" not in call


def test_findings_of_other_kinds_do_not_become_an_unreachable_cluster():
    away = Finding("slurm_unreachable", "warning", "m", "f", "", {"blocks_run": True, "unreachable": True})
    with pytest.raises(BlockedError):
        gate.raise_if_blocked([away, Finding("image_missing", "warning", "m", "f", "", {"blocks_run": True})])


@pytest.mark.parametrize(
    ("options", "unmounted"),
    [
        ({"container": "pyxis"}, ["/data/set", "/state/models/NAME", "/tmp/x"]),
        ({"container": "apptainer"}, ["/data/set", "/state/models/NAME"]),
        ({"container": "pyxis", "mounts": "/data,/state,/tmp"}, []),
        ({}, []),
    ],
)
def test_what_a_container_does_not_mount_is_named_with_the_option_that_mounts_it(
    cluster, slurm_job, options, unmounted
):
    cluster.says("sinfo", PARTITIONS)
    read = (
        Input("train", "clips", {"path": "/data/set"}),
        Input("eval", "clips", {"path": "/tmp/x"}),
    )
    job = slurm_job(
        options,
        image="registry/image:1",
        workload=Workload(inputs=read),
        fetches=(("hf_model://ORG/NAME", "/state/models/NAME"),),
    )
    found = PLATFORM.probe(job)
    assert [one.code for one in found] == (["not_mounted"] if unmounted else [])
    for path in unmounted:
        assert path in found[0].message
        assert path in found[0].fix
    assert not any(one.blocks_run for one in found)
