"""A Slurm cluster, through its own commands, here or over ssh; it shares the file system of the run directory.

squeue is asked first: a job that it lists has not ended, also when it was requeued. Then the accounting reports how it
ended, or the controller where there is no accounting. The reason of the end is read from the run directory.
"""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, Finding, Job, JobRecord, JobStatus, Launch, Plan, State
from tao_skill_bank.core import finite
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError
from tao_skill_bank.platforms import run_files
from tao_skill_bank.platforms.slurm import client
from tao_skill_bank.platforms.slurm import options as slurm_options
from tao_skill_bank.platforms.slurm import render as slurm_render
from tao_skill_bank.platforms.slurm.client import Cluster, Listed
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory, write_whole

NUMBER, LOGIN_HOST, GRACE = "slurm_job_id", "login_host", "grace_seconds"
POLL_SECONDS = 0.5
RECONCILE_SECONDS = 10.0  # sacct lags by 2 s, and a busy controller by more
SETTLE_SECONDS = 10.0  # until a shared file system shows the last lines of a run directory
REQUEUE_SECONDS = 30.0  # until a job that lost its node is listed again
STOP_SECONDS = 120.0  # KillWait of the cluster, 30 s by default, plus a margin
FOLLOW_SECONDS = 2.0  # between two queries of the controller while a log is followed
FIXES = {
    "TIMEOUT": "It reached its time limit: raise --option time_limit, or resume it with: tao-skills retry JOB.",
    "DEADLINE": "It could not end before its deadline.",
    "OUT_OF_MEMORY": "The memory of its node was used up: raise --option mem, or lower the workers and batch sizes.",
}
NEVER_RUNS = {
    "PartitionTimeLimit": "its time limit is above the partition's: cancel it and lower --option time_limit",
    "PartitionNodeLimit": "the partition gives no job so many nodes: cancel it and lower platform.nodes",
    "BadConstraints": "no node fits it: cancel it and change what it asks for",
}


@dataclass(frozen=True)
class Slurm:
    """Runs a job as one sbatch script with an srun on every node."""

    name: str = "slurm"
    one_machine: bool = False
    number_options: tuple[str, ...] = ("cpus_per_task", "grace_seconds", "save_seconds")
    text_options: tuple[str, ...] = (
        *("partition", "account", "qos", "constraint", "exclude", "time_limit", "mem"),
        *("requeue", "python", "host", "container", "mounts"),
    )

    def runs_here(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Its nodes count as other machines, even where one of them submits."""
        return False

    def uses_image(self, options: Mapping[str, Any]) -> bool:
        """A job runs in a container if an option asks for it."""
        return "container" in options

    def probe(self, job: Job) -> list[Finding]:
        """Ask the cluster whether it could ever run `job`.

        Raises:
            RequestError: options that Slurm would not understand.

        """
        options = slurm_options.of(job)
        cluster = Cluster(options.host)
        if options.host is None and shutil.which("sbatch") is None:
            message = "Slurm's commands are not on this machine."
            fix = "Run the plan on a login node, or reach one by ssh: --option host=USER@LOGIN_NODE"
            return [Finding("slurm_missing", "warning", message, fix, "platform.name", {"blocks_run": True})]
        try:
            partitions = cluster.ask("sinfo", "--noheader", "--format=%P|%l|%a").splitlines()
            if findings := _partition_findings(partitions, options):
                return findings
            flags = slurm_render.request(job, options)
            tried = cluster.call("sbatch", "--test-only", *flags, "--wrap=true")
        except BackendError as error:
            problem = error.problems[0]
            return [Finding(problem.code, "warning", problem.message, problem.fix, problem.path, {"blocks_run": True})]
        if tried.returncode != 0 and (refused := client.refusal(tried.stderr)):
            return [Finding(refused.code, "blocking", refused.message, refused.fix, refused.path)]
        return []

    def render(self, plan: Plan) -> Launch:
        """Return the sbatch script, the config of a restart, and the sbatch command."""
        options = slurm_options.of(plan.job)
        script = str(Path(plan.job.results_dir) / slurm_render.SCRIPT_FILE)
        return Launch(slurm_render.files(plan, options), Cluster(options.host).argv("sbatch", "--parsable", script))

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Send the script. A lost answer is looked up by the job's name, and the script is never sent twice.

        Raises:
            ConflictError: the cluster has a job of this name.
            BlockedError: the cluster refuses the request.
            BackendError: the cluster did not take the job.

        """
        options = slurm_options.of(plan.job)
        cluster, name = Cluster(options.host), plan.job.id
        RunDirectory(Path(plan.job.results_dir)).log_file.parent.mkdir(parents=True, exist_ok=True)
        if (there := cluster.active(name)) is not None:
            message = f"The cluster has a job named {name} already: {there.number}, {there.word}."
            fix = f"Plan the request again for another name, or end that one: scancel {there.number}"
            raise ConflictError.of("job_name_taken", message, fix, path=name)
        reference: dict[str, str | int | float] = {GRACE: options.grace_seconds}
        if options.host is not None:
            reference[LOGIN_HOST] = options.host
        try:
            done = cluster.start(plan.argv, "sbatch")
            stderr = done.stderr
        except BackendError as error:
            done, stderr = None, str(error)
        if done is not None and done.returncode == 0 and (found := re.match(r"(\d+)", done.stdout)):
            return {**reference, NUMBER: int(found[1])}
        if done is not None and done.returncode != 0 and not client.is_unreachable(stderr):
            raise _refused(stderr)
        number = _reconcile(cluster, name, stderr)
        return reference if number is None else {**reference, NUMBER: number}

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from squeue, then from the accounting or the controller, with the reasons from the run directory."""
        run = RunDirectory.of(record.results_dir, record.id)
        cluster = _cluster(record, run)
        listed = cluster.active(record.id)
        progress = run.last_status()
        if listed is not None:
            return _active(record, listed, progress)
        number = record.backend_ref.get(NUMBER)
        if number is None:
            found = cluster.find(record.id, record.submitted_at)
            number = found.number if found else None
        over = None if number is None else cluster.ended(record.id, str(number))
        progress = run.last_status()  # the last line was written before the cluster reported the end
        if over is None:
            return _forgotten(record, run, progress, was_submitted=number is not None)
        return _over(record, run, over, progress)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the lines of logs/job.log, which every node writes through its srun."""
        path = RunDirectory.of(record.results_dir, record.id).log_file
        is_over = run_files.rate_limited(lambda: self.status(record).state.is_terminal, FOLLOW_SECONDS)
        return run_files.log_lines(path, is_over, follow=follow)

    def cancel(self, record: JobRecord) -> None:
        """Stop the job and wait until the cluster no longer lists it; a training saves itself first.

        Raises:
            BackendError: the cluster cannot be asked, or did not stop the job.

        """
        run = RunDirectory.of(record.results_dir, record.id)
        cluster = _cluster(record, run)
        if (listed := cluster.active(record.id)) is None:
            return
        with suppress(OSError):  # a full disk must not keep a job alive; the script requeues nothing that is cancelled
            write_whole(run.cancel_file, "")
        has_work = listed.word == "RUNNING" and run.last_status().get("state") == "RUNNING"
        if has_work and cluster.call("scancel", "--signal=USR1", listed.number).returncode == 0:
            grace_seconds = float(record.backend_ref.get(GRACE, slurm_options.DEFAULT_GRACE_SECONDS))
            if _is_gone(cluster, record.id, grace_seconds):
                return
        done = cluster.call("scancel", listed.number)
        if not _is_gone(cluster, record.id, STOP_SECONDS):
            message = f"Slurm job {listed.number} ({record.id}) could not be stopped. {done.stderr.strip()}".rstrip()
            raise BackendError.of("slurm_stop_failed", message, f"scancel --full {listed.number}", path=record.id)


def _cluster(record: JobRecord, run: RunDirectory) -> Cluster:
    """Return the cluster of a job, from its plan as long as the reference of the submission is not recorded."""
    if NUMBER in record.backend_ref or GRACE in record.backend_ref:
        return Cluster(record.backend_ref.get(LOGIN_HOST))
    plan = run.plan_document()
    host = plan.get("job", {}).get("platform", {}).get("options", {}).get("host")
    return Cluster(None if host is None else str(host))


def _partition_findings(lines: list[str], options: slurm_options.Options) -> list[Finding]:
    partitions = {name.rstrip("*"): (limit, up) for name, limit, up in (line.split("|") for line in lines)}
    default = next((line.split("|")[0].rstrip("*") for line in lines if line.split("|")[0].endswith("*")), None)
    findings = []
    names = options.partition.split(",") if options.partition else [default] if default else []
    for name in names:
        if name not in partitions:
            message = f"The cluster has no partition '{name}'."
            fix = f"Set --option partition to one of: {', '.join(sorted(partitions))}."
            findings.append(Finding("unknown_partition", "blocking", message, fix, "platform.options.partition"))
            continue
        limit, up = partitions[name]
        if up != "up":
            message = f"Partition {name} is {up}: it starts no job."
            others = ", ".join(sorted(other for other, (_, state) in partitions.items() if state == "up")) or "none"
            fix = f"Use another (up: {others}), or wait for the cluster's operators."
            findings.append(Finding("partition_down", "blocking", message, fix, "platform.options.partition"))
        longest, wanted = slurm_options.seconds(limit), slurm_options.seconds(options.time_limit)
        if longest is not None and wanted is not None and wanted > longest:
            message = f"The time limit {options.time_limit} is above that of partition {name}, {limit}."
            fix = (
                f"Set --option time_limit={limit} or less; a training is requeued and resumes from its last checkpoint."
            )
            findings.append(Finding("time_limit_exceeded", "blocking", message, fix, "platform.options.time_limit"))
    return findings


def _refused(stderr: str) -> BlockedError | BackendError:
    problem = client.refusal(stderr)
    if problem is not None:
        return BlockedError([problem])
    message = f"sbatch did not accept the job: {stderr.strip()}"
    return BackendError.of(
        "slurm_refused", message, "Correct what it names, and plan the request again.", path="sbatch"
    )


def _reconcile(cluster: Cluster, name: str, stderr: str) -> int | None:
    """Return the number of a job whose submission gave no answer; None when the cluster cannot be asked either.

    Raises:
        BackendError: the cluster answers, and has no such job.

    """
    deadline = time.monotonic() + RECONCILE_SECONDS
    try:
        while True:
            found = cluster.find(name, run_directory.timestamp())
            if found is not None:
                return int(found.number)
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        cluster.call("scancel", f"--name={name}")  # in case it still arrives
    except BackendError:
        return None  # status finds it by its name
    message = f"sbatch gave no job number, and the cluster has no job named {name}. {stderr.strip()}".rstrip()
    fix = "See that the cluster is up (scontrol ping), then plan the request again."
    raise BackendError.of("slurm_submit_lost", message, fix, path=name)


def _active(record: JobRecord, listed: Listed, progress: dict[str, Any]) -> JobStatus:
    state = State.PENDING if listed.meaning[0] is State.PENDING else State.RUNNING  # a listed job has not ended
    if state is State.PENDING:
        why = NEVER_RUNS.get(listed.reason)
        waits = f"Waits as Slurm job {listed.number}" + (f" ({listed.reason})" if listed.reason else "")
        return JobStatus(record.id, state, f"{waits}: {why}." if why else f"{waits}.", progress=progress)
    return JobStatus(record.id, state, str(progress.get("message") or listed.word), progress=progress)


def _over(record: JobRecord, run: RunDirectory, over: Listed, progress: dict[str, Any]) -> JobStatus:
    """Return the state of a job that squeue does not list."""
    state, err_class = over.meaning
    if not state.is_terminal:  # the accounting lags
        return JobStatus(record.id, state, f"Slurm reports {over.word}.", progress=progress)
    age = float("inf") if over.ended_at is None else time.time() - over.ended_at
    was_cancelled = run.cancel_file.exists()
    is_unconfirmed = state is State.COMPLETE and progress.get("state") != "SUCCESS" and age < SETTLE_SECONDS
    if is_unconfirmed or (err_class == "ERR_INFRA" and not was_cancelled and age < REQUEUE_SECONDS):
        message = f"Slurm reports {over.word}; waiting for the final state."
        return JobStatus(record.id, State.RUNNING, message, progress=progress)
    exit_code = _exit_code(run, over, progress)
    if state is State.CANCELED:
        ended = run_files.ended(record, exit_code, progress, was_cancelled=True)
        who = "" if was_cancelled else f" It was cancelled on the cluster, not by this tool (Slurm job {over.number})."
        return JobStatus(record.id, State.CANCELED, f"{ended.message}{who}", None, exit_code, progress)
    if err_class == "ERR_INFRA" and not was_cancelled:
        message = f"Slurm reports {over.word}: an infrastructure failure. {run_files.retry_hint(record)}"
        return JobStatus(record.id, State.ERROR, message, err_class, exit_code, progress)
    if over.word in FIXES and exit_code != EXIT_INTERRUPTED and not was_cancelled:
        message = f"Slurm reports {over.word}. {FIXES[over.word]}"
        return JobStatus(record.id, State.ERROR, message, err_class, exit_code, progress)
    return run_files.ended(record, exit_code, progress, was_cancelled=was_cancelled)


def _exit_code(run: RunDirectory, over: Listed, progress: dict[str, Any]) -> int | None:
    """Return the exit code of the rank that reported why the job failed, else that of the script, else Slurm's."""
    recorded = run.exit_code()
    if recorded in (0, EXIT_INTERRUPTED):
        return recorded
    cause = (progress.get("diagnosis") or {}).get("cause")
    for path in sorted((run.path / "exit").glob("rank_*.json")):
        rank = run_directory.read_object(path)
        if cause and rank.get("error") == cause and (code := finite.count(rank.get("exit_code"))):
            return code
    return over.exit_code if recorded is None else recorded


def _forgotten(record: JobRecord, run: RunDirectory, progress: dict[str, Any], *, was_submitted: bool) -> JobStatus:
    """Return the state of a job that the cluster does not list, from what the job left."""
    exit_code = run.exit_code()
    if exit_code is not None:
        return run_files.ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists())
    message = "The cluster no longer lists it." if was_submitted else "The cluster does not list it."
    return JobStatus(record.id, State.UNKNOWN, message, progress=progress)


def _is_gone(cluster: Cluster, name: str, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while cluster.active(name) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


PLATFORM = Slurm()
