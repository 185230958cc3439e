import json
import subprocess
import time
from pathlib import Path

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.contracts import PlatformRequest, Resources, State, Workload
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError, RequestError
from tao_skill_bank.platforms.slurm import options as slurm_options
from tao_skill_bank.platforms.slurm import status as slurm_status
from tao_skill_bank.platforms.slurm.platform import PLATFORM
from tao_skill_bank.spec import config_files

GOLDEN = Path(__file__).parents[3] / "golden"
JOB = "cosmos-rl-train-0123456789ab"
LONG_AGO = "1700000000"


def slurm_job(results_dir, options=None, **changes):
    return make_job(results_dir, id=JOB, platform=PlatformRequest("slurm", options=options or {}), **changes)


def say(record, **line):
    path = Path(record.results_dir, "status.jsonl")
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


# --- render -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("golden", "changes", "options"),
    [
        (
            "slurm_train_two_nodes_gpu.sh",
            {
                "resources": Resources(nodes=2, processes_per_node=8, device="cuda"),
                "distributed": True,
                "config_file": "config/train.toml",
                "resume_key": "train.resume",
                "fetches": (("hf_model://ORG/NAME", "/state/models/NAME"),),
            },
            {
                "partition": "gpu", "account": "lab", "qos": "high", "constraint": "h100|h200", "exclude": "n[3-4]",
                "time_limit": "1-00:00:00", "cpus_per_task": 64, "mem": "0", "python": "/venv/bin/python",
            },
        ),
        (
            "slurm_evaluate_one_node_cpu.sh",
            {"workload": Workload(), "action": "evaluate", "config_file": "config/evaluate.toml", "distributed": True},
            {"python": "/venv/bin/python", "requeue": False, "time_limit": 30},
        ),
        (
            "slurm_train_container.sh",
            {
                "resources": Resources(nodes=1, processes_per_node=1, device="cuda"),
                "config_file": "config/train.toml",
                "distributed": True,
                "image": "registry/image:1",
            },
            {"container": "apptainer", "python": "/opt/venv/bin/python", "mounts": "/data,/models", "time_limit": 10},
        ),
    ],
)  # fmt: skip
def test_the_rendered_script_is_the_golden_one(golden, changes, options):
    plan = make_plan(
        slurm_job("/results/a run", options, **{"module": "tao_skill_bank.training.x", **changes}), "slurm"
    )
    assert plan.files["launch.sh"] == (GOLDEN / golden).read_text()
    assert plan.argv == ("sbatch", "--parsable", "/results/a run/launch.sh")


def test_what_a_site_needs_is_asked_for_in_its_own_lines():
    options = {
        "gres": "gpu:h100:8,nvme:1", "reservation": "lab-week", "licenses": "ansys@server:2", "nodelist": "n[1-2]",
        "extra": "--exclusive  --comment=tao/1 --mail-user=me@lab.org",
    }  # fmt: skip
    resources = Resources(nodes=2, processes_per_node=8, device="cuda")
    script = make_plan(slurm_job("/run", options, resources=resources), "slurm").files["launch.sh"]
    lines = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {
        "--gres=gpu:h100:8,nvme:1", "--reservation=lab-week", "--licenses=ansys@server:2", "--nodelist=n[1-2]",
        "--exclusive", "--comment=tao/1", "--mail-user=me@lab.org",
    } <= set(lines)  # fmt: skip
    assert not [line for line in lines if line.startswith("--gpus-per-node")]  # the gres names them


def test_a_login_node_is_reached_by_ssh_that_asks_for_no_password():
    plan = make_plan(slurm_job("/results/a run", {"host": "me@login"}), "slurm")
    assert plan.argv == ("ssh", "-o", "BatchMode=yes", "me@login", "sbatch --parsable '/results/a run/launch.sh'")


def test_a_restart_has_a_config_that_resumes_and_the_first_start_has_not():
    config = {"train": {"epoch": 3, "resume": "/other/epoch_1"}}
    job = slurm_job("/run", config=config, config_file="config/train.toml", resume_key="train.resume")
    files = PLATFORM.render(make_plan(job, "slurm")).files
    expected = {"train": {"epoch": 3, "resume": True}}
    assert files["config/train.restart.toml"] == config_files.text("x.toml", expected)


def test_a_training_that_is_not_requeued_has_no_second_config():
    job = slurm_job("/run", {"requeue": "false"}, config_file="config/train.toml", resume_key="train.resume")
    launch = PLATFORM.render(make_plan(job, "slurm"))
    assert list(launch.files) == ["launch.sh"]
    assert "scontrol requeue" not in launch.files["launch.sh"]


def test_every_script_is_valid_bash(tmp_path):
    for path in GOLDEN.glob("slurm_*.sh"):
        subprocess.run(["bash", "-n", str(path)], check=True)


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partition", "gpu\n#SBATCH --account=other"),
        ("account", "my lab"),
        ("qos", ""),
        ("exclude", "n1;reboot"),
        ("constraint", "'"),
        ("time_limit", "two hours"),
        ("time_limit", "1:2:3:4"),
        ("time_limit", 0),
        ("time_limit", True),
        ("mem", "64 GB"),
        ("cpus_per_task", 1.5),
        ("host", "-oProxyCommand=reboot"),
        ("python", "-c"),
        ("requeue", "perhaps"),
        ("container", "docker"),
        ("gres", "gpu 8"),
        ("gres", "gpu:h100:1"),  # on the CPU
        ("reservation", "a\nb"),
        ("licenses", "a b"),
        ("nodelist", "n1;reboot"),
        ("extra", ""),
        ("extra", "exclusive"),
        ("extra", "-x"),
        ("extra", "--comment='a'"),
        ("extra", "--comment=$(reboot)"),
        ("extra", "--wrap=reboot"),
        ("extra", "--output=/etc/passwd"),
        ("extra", "--export=ALL"),
        ("extra", "--uid=0"),
        ("extra", "--array=1-9"),
        ("extra", "--time=9"),
        ("extra", "--excl"),
    ],
)
def test_an_option_that_slurm_would_not_understand_is_refused_by_its_name(name, value):
    with pytest.raises(RequestError) as error:
        PLATFORM.probe(slurm_job("/run", {name: value}, image="registry/image:1"))
    assert [problem.path for problem in error.value.problems] == [f"platform.options.{name}"]
    assert error.value.problems[0].fix


def test_all_wrong_options_are_told_together():
    with pytest.raises(RequestError) as error:
        slurm_options.of(slurm_job("/run", {"qos": "a b", "mem": "much", "container": "pyxis"}))
    assert len(error.value.problems) == 3


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("30", 1800), ("1:30", 90), ("2:00:00", 7200), ("1-0", 86400), ("1-02:03", 93780), ("1-02:03:04", 93784),
        ("infinite", None), (None, None),
    ],
)  # fmt: skip
def test_slurm_times_are_read_as_slurm_reads_them(limit, seconds):
    assert slurm_options.seconds(limit) == seconds


def test_a_short_time_limit_leaves_most_of_it_to_the_training():
    assert slurm_options.of(slurm_job("/run", {"time_limit": "00:08:00"})).save_seconds == 120
    assert slurm_options.of(slurm_job("/run", {"time_limit": "08:00:00"})).save_seconds == 300


# --- probe --------------------------------------------------------------------------------------------------------


def test_a_request_that_the_cluster_can_meet_has_no_finding(cluster, job):
    cluster.says("sinfo", "gpu*|1-00:00:00|up\nlong|infinite|up\n")
    assert PLATFORM.probe(job) == []
    assert f"--job-name={JOB}" in cluster.calls("sbatch --test-only")[0]


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        ({"partition": "gqu"}, "unknown_partition", "gpu, long"),
        ({"partition": "off"}, "partition_down", "gpu, long"),
        ({"time_limit": "1-00:00:01"}, "time_limit_exceeded", "time_limit=1-00:00:00"),
        ({"partition": "gpu", "time_limit": 1441}, "time_limit_exceeded", "time_limit=1-00:00:00"),
    ],
)
def test_a_partition_that_will_not_do_is_told_with_what_would(cluster, tmp_path, options, code, part):
    cluster.says("sinfo", "gpu*|1-00:00:00|up\nlong|infinite|up\noff|infinite|down\n")
    findings = PLATFORM.probe(slurm_job(tmp_path, options))
    assert [(found.code, found.severity) for found in findings] == [(code, "blocking")]
    assert all(name in findings[0].fix for name in part.split(", "))


REFUSALS = [
    ("sbatch: error: invalid partition specified: x\nBatch job submission failed: Invalid partition name specified",
     "unknown_partition", "options.partition"),
    ("Invalid account or account/partition combination specified", "unknown_account", "options.account"),
    ("Invalid qos specification", "unknown_qos", "options.qos"),
    ("Requested time limit is invalid (missing or exceeds some limit)", "time_limit_exceeded", "options.time_limit"),
    ("Invalid feature specification", "unknown_constraint", "options.constraint"),
    ("Invalid node name specified", "unknown_node", "options.exclude"),
    ("Invalid generic resource (gres) specification", "no_such_gpus", "gpus"),
    ("Requested node configuration is not available", "no_such_nodes", "nodes"),
    ("Node count specification invalid", "no_such_nodes", "nodes"),
    ("Memory specification can not be satisfied", "no_such_nodes", "nodes"),
    ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "quota_reached",
     "options.qos"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "path"), REFUSALS)
def test_what_the_cluster_would_refuse_blocks_a_plan(cluster, job, said, code, path):
    cluster.says("sinfo", "gpu*|infinite|up\n")
    cluster.says("sbatch", stderr=f"allocation failure: {said}\n", code=1)
    (found,) = PLATFORM.probe(job)
    assert (found.code, found.severity, found.path) == (code, "blocking", f"platform.{path}")
    assert found.fix


def test_a_plan_passes_without_a_cluster_and_its_launch_does_not(job, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = PLATFORM.probe(job)
    assert (found.code, found.severity, found.blocks_run) == ("slurm_missing", "warning", True)


@pytest.mark.parametrize(
    ("options", "name", "code", "part"),
    [
        ({}, "sinfo", "slurm_unreachable", "Unable to contact"),
        ({"host": "me@login"}, "ssh", "ssh_failed", "me@login"),
    ],
)
def test_a_cluster_that_is_down_stops_a_launch(cluster, tmp_path, options, name, code, part):
    said = "slurm_load_partitions: Unable to contact slurm controller" if name == "sinfo" else "Permission denied"
    cluster.says(name, stderr=said, code=255 if name == "ssh" else 1)
    (found,) = PLATFORM.probe(slurm_job(tmp_path, options))
    assert (found.code, found.severity, found.blocks_run) == (code, "warning", True)
    assert part in found.message


# --- submit -------------------------------------------------------------------------------------------------------


def test_a_submission_returns_the_number_that_sbatch_gives(cluster, job):
    cluster.says("sbatch", "41;cluster\n")
    assert PLATFORM.submit(make_plan(job, "slurm")) == {"slurm_job_id": 41, "grace_seconds": 120.0}
    assert Path(job.results_dir, "logs").is_dir()


@pytest.mark.parametrize(("said", "code", "path"), REFUSALS)
def test_a_refusal_is_one_error_with_its_cause_and_fix(cluster, job, said, code, path):
    cluster.says("sbatch", stderr=f"sbatch: error: {said}\n", code=1)
    with pytest.raises(BlockedError) as error:
        PLATFORM.submit(make_plan(job, "slurm"))
    (problem,) = error.value.problems
    assert (problem.code, problem.path) == (code, f"platform.{path}")
    assert said.splitlines()[-1] in problem.message
    assert len(cluster.calls("sbatch")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"stdout": ""},
        {"stderr": "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", "code": 1},
        {"stderr": "", "code": 1},
    ],
)
@pytest.mark.parametrize("finder", ["squeue", "sacct"])
def test_a_lost_answer_is_found_by_the_name_and_never_sent_again(cluster, job, answer, finder):
    cluster.says("squeue", "")
    cluster.says("sbatch", **answer)
    cluster.says(finder, "41|PENDING|Priority\n" if finder == "squeue" else "41|PENDING|0:0|Unknown\n")
    assert PLATFORM.submit(make_plan(job, "slurm"))["slurm_job_id"] == 41
    assert len(cluster.calls("sbatch")) == 1


@pytest.mark.parametrize(
    ("answer", "later"),
    [
        ({"stdout": "Welcome\n"}, State.UNKNOWN),  # accepted
        (
            {"stderr": "sbatch: error: Batch job submission failed: Socket timed out on send/recv", "code": 1},
            State.ERROR,
        ),
    ],
)
def test_a_job_that_squeue_shows_late_is_neither_cancelled_nor_sent_again(cluster, job, monkeypatch, answer, later):
    cluster.says("sbatch", **answer)
    reference = PLATFORM.submit(make_plan(job, "slurm"))
    record = make_record(job, platform="slurm", backend_ref=reference)
    now = PLATFORM.status(record)
    assert (now.state, "yet" in now.message) == (State.PENDING, True)
    assert (answer.get("stdout") or answer["stderr"])[-7:].strip() in now.message
    with pytest.raises(BackendError) as error:
        PLATFORM.cancel(record)
    assert error.value.problems[0].code == "slurm_not_listed"
    monkeypatch.setattr(slurm_status, "ARRIVAL_SECONDS", 0.0)
    now = PLATFORM.status(record)
    assert (now.state, "tao-skills" in now.message) == (later, True)
    cluster.says("squeue", "41|RUNNING|None\n")
    assert PLATFORM.status(record).state is State.RUNNING
    assert len(cluster.calls("sbatch")) == 1
    assert [call for call in cluster.calls("scancel") if "41" in call] == []


def test_a_new_job_that_only_its_number_shows_is_stopped_by_it(cluster, record):
    PLATFORM.cancel(record)
    PLATFORM.cancel(record)
    assert cluster.calls("scancel") == ["scancel 7"]


def test_a_job_whose_cluster_went_down_while_it_was_sent_is_found_later_by_its_name(cluster, job, tmp_path):
    cluster.says("squeue", "")
    cluster.says("sbatch", stderr="Unable to contact slurm controller", code=1)
    cluster.says("squeue", stderr="Unable to contact slurm controller", code=1)
    reference = PLATFORM.submit(make_plan(job, "slurm"))
    assert "slurm_job_id" not in reference
    record = make_record(job, platform="slurm", backend_ref=reference)
    with pytest.raises(BackendError):
        PLATFORM.status(record)
    cluster.says("squeue", "41|RUNNING|None\n")
    assert eventually_running(record)


def eventually_running(record):
    for _ in range(3):  # replies that are left are said first
        try:
            return PLATFORM.status(record).state is State.RUNNING
        except BackendError:
            continue
    return False


def test_a_name_that_the_cluster_has_already_is_not_submitted(cluster, job):
    cluster.says("squeue", "40|RUNNING|None\n")
    with pytest.raises(ConflictError) as error:
        PLATFORM.submit(make_plan(job, "slurm"))
    assert error.value.problems[0].code == "job_name_taken"
    assert cluster.calls("sbatch") == []


# --- status -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        *((word, State.PENDING) for word in ("PENDING", "CONFIGURING", "REQUEUED")),
        *((word, State.RUNNING) for word in ("RUNNING", "COMPLETING", "SUSPENDED", "SIGNALING", "STAGE_OUT", "NEW")),
        *((word, State.RUNNING) for word in ("NODE_FAIL", "FAILED", "COMPLETED")),
    ],
)
def test_what_squeue_lists_is_not_over(cluster, record, word, state):
    cluster.says("squeue", f"7|{word}|None\n")
    assert PLATFORM.status(record).state is state


@pytest.mark.parametrize("by", ["sacct", "scontrol"])
@pytest.mark.parametrize(
    ("word", "state", "err_class"),
    [
        ("COMPLETED", State.COMPLETE, None),
        *((word, State.ERROR, "ERR_PROGRAM") for word in ("FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY")),
        *((word, State.ERROR, "ERR_INFRA") for word in ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED")),
        *((word, State.CANCELED, None) for word in ("CANCELLED", "CANCELLED+", "CANCELLED by 0", "REVOKED")),
    ],
)
def test_how_a_job_ended_is_told_by_the_accounting_or_without_it_by_the_controller(
    cluster, record, by, word, state, err_class
):
    if by == "scontrol" and " " in word:
        word = word.split()[0]
    code = "0:0" if word == "COMPLETED" else "1:0"
    if by == "sacct":
        cluster.says("sacct", f"7|{word}|{code}|{LONG_AGO}\n")
    else:
        cluster.says("sacct", stderr="Slurm accounting storage is disabled", code=1)
        cluster.says(
            "scontrol", f"JobId=7 JobName={JOB} JobState={word} Reason=None ExitCode={code} EndTime={LONG_AGO}\n"
        )
    if state is State.COMPLETE:
        say(record, state="SUCCESS", message="done")
    now = PLATFORM.status(record)
    assert (now.state, now.err_class) == (state, err_class)


def test_a_job_that_slurm_calls_complete_without_a_success_is_an_error(cluster, record):
    cluster.says("sacct", f"7|COMPLETED|0:0|{LONG_AGO}\n")
    now = PLATFORM.status(record)
    assert (now.state, now.err_class) == (State.ERROR, "ERR_PROGRAM")


@pytest.mark.parametrize("word", ["COMPLETED", "NODE_FAIL", "PREEMPTED"])
def test_an_end_that_may_not_be_the_last_word_is_waited_for(cluster, record, word):
    cluster.says("sacct", f"7|{word}|0:0|{int(time.time())}\n")
    assert PLATFORM.status(record).state is State.RUNNING


def test_an_accounting_that_lags_behind_ends_nothing(cluster, record):
    cluster.says("sacct", "7|RUNNING|0:0|Unknown\n")
    assert PLATFORM.status(record).state is State.RUNNING


def test_another_job_that_got_the_same_number_is_not_mistaken_for_it(cluster, record):
    cluster.says("sacct", "")
    cluster.says("scontrol", f"JobId=7 JobName=other JobState=FAILED ExitCode=1:0 EndTime={LONG_AGO}\n")
    assert PLATFORM.status(record).state is State.UNKNOWN


def test_a_job_that_the_cluster_forgot_is_known_by_what_it_left(cluster, record):
    cluster.says("scontrol", stderr="slurm_load_jobs error: Invalid job id specified", code=1)
    assert PLATFORM.status(record).state is State.UNKNOWN
    say(record, state="SUCCESS", message="done")
    Path(record.results_dir, "logs", "exit_code").write_text("0\n")
    assert PLATFORM.status(record).state is State.COMPLETE


def test_a_failure_has_the_exit_code_and_the_cause_of_the_rank_that_failed_first(cluster, record):
    cluster.says("sacct", f"7|FAILED|137:0|{LONG_AGO}\n")
    say(record, state="FAILURE", message="x", diagnosis={"code": "bad", "cause": "A bad video.", "cure": "Drop it."})
    folder = Path(record.results_dir)
    (folder / "logs" / "exit_code").write_text("137\n")
    (folder / "exit").mkdir()
    (folder / "exit" / "rank_0.json").write_text('{"rank": 0, "exit_code": 8, "error": "A peer died."}')
    (folder / "exit" / "rank_1.json").write_text('{"rank": 1, "exit_code": 3, "error": "A bad video."}')
    now = PLATFORM.status(record)
    assert (now.state, now.err_class, now.exit_code) == (State.ERROR, "ERR_PROGRAM", 3)
    assert "A bad video. Drop it." in now.message


def test_an_interrupted_training_that_was_not_requeued_can_go_on(cluster, record):
    cluster.says("sacct", f"7|FAILED|75:0|{LONG_AGO}\n")
    Path(record.results_dir, "logs", "exit_code").write_text("75\n")
    now = PLATFORM.status(record)
    assert (now.err_class, now.is_interrupted) == ("ERR_INFRA", True)


@pytest.mark.parametrize(("word", "part"), [("TIMEOUT", "time_limit"), ("OUT_OF_MEMORY", "--option mem")])
def test_a_limit_that_was_reached_is_told_with_its_option(cluster, record, word, part):
    cluster.says("sacct", f"7|{word}|0:15|{LONG_AGO}\n")
    assert part in PLATFORM.status(record).message


def test_a_job_that_waits_for_ever_says_why(cluster, record):
    cluster.says("squeue", "7|PENDING|PartitionTimeLimit\n")
    assert "lower --option time_limit" in PLATFORM.status(record).message


def test_a_cluster_that_is_down_is_an_error_and_no_state(cluster, record):
    cluster.says("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller", code=1)
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError) as error:
            verb(record)
        assert error.value.exit_code == 6
        assert "Unable to contact slurm controller" in str(error.value)


def test_over_ssh_every_question_goes_to_the_login_node(cluster, job):
    cluster.says("ssh", "7|RUNNING|None\n")
    record = make_record(
        job, platform="slurm", backend_ref={"slurm_job_id": 7, "grace_seconds": 1, "login_host": "me@login"}
    )
    assert PLATFORM.status(record).state is State.RUNNING
    (call,) = cluster.calls()
    assert call == f"ssh -o BatchMode=yes me@login squeue --name={JOB} '--format=%A|%T|%r'"


# --- logs and cancel ----------------------------------------------------------------------------------------------


def test_logs_are_followed_to_their_last_line(cluster, record):
    Path(record.results_dir, "logs", "job.log").write_text("one\ntwo")
    cluster.says("sacct", f"7|FAILED|1:0|{LONG_AGO}\n")
    assert "".join(PLATFORM.logs(record, follow=True)) == "one\ntwo\n"


def test_a_cancelled_training_gets_time_to_save_itself(cluster, record):
    say(record, state="RUNNING", step=1, message="step 1")
    cluster.says("squeue", "7|RUNNING|None\n")
    cluster.says("squeue", "")
    PLATFORM.cancel(record)
    PLATFORM.cancel(record)
    assert cluster.calls("scancel") == ["scancel --signal=USR1 7"]
    assert Path(record.results_dir, "logs", "cancel_requested").exists()


def test_what_waits_is_cancelled_at_once(cluster, record):
    cluster.says("squeue", "7|PENDING|Priority\n")
    cluster.says("squeue", "")
    PLATFORM.cancel(record)
    assert cluster.calls("scancel") == ["scancel 7"]


def test_a_job_that_does_not_stop_is_an_error(cluster, record):
    cluster.says("squeue", "7|COMPLETING|None\n")
    with pytest.raises(BackendError) as error:
        PLATFORM.cancel(record)
    assert error.value.problems[0].fix == "scancel --full 7"


def test_a_cancelled_job_that_saved_itself_is_called_canceled(cluster, record):
    cluster.says("sacct", f"7|FAILED|75:0|{LONG_AGO}\n")
    Path(record.results_dir, "logs", "exit_code").write_text("75\n")
    Path(record.results_dir, "logs", "cancel_requested").write_text("")
    assert PLATFORM.status(record).state is State.CANCELED


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED", "TIMEOUT", "FAILED", "OUT_OF_MEMORY"])
def test_a_training_that_had_succeeded_is_complete_once_slurm_cannot_requeue_it(cluster, record, word):
    say(record, state="SUCCESS", message="Trained 3 epochs")
    cluster.says("sacct", f"7|{word}|0:9|{LONG_AGO}\n")
    now = PLATFORM.status(record)
    assert (now.state, now.err_class) == (State.COMPLETE, None)


@pytest.mark.parametrize("word", ["NODE_FAIL", "PREEMPTED"])
def test_a_training_that_had_succeeded_is_waited_for_while_slurm_may_requeue_it(cluster, record, word):
    say(record, state="SUCCESS", message="Trained 3 epochs")
    cluster.says("sacct", f"7|{word}|0:9|{int(time.time())}\n")
    assert PLATFORM.status(record).state is State.RUNNING


def test_a_kill_by_slurms_memory_handler_in_a_step_is_the_programs(cluster, record):
    say(record, state="RUNNING", step=1)
    cluster.says("sacct", f"7|FAILED|0:9|{LONG_AGO}\n")
    unexplained = PLATFORM.status(record)
    assert (unexplained.err_class, unexplained.is_unexplained) == ("ERR_INFRA", True)
    log = Path(record.results_dir, "logs", "job.log")
    log.write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n")
    assert PLATFORM.status(record).err_class == "ERR_PROGRAM"
