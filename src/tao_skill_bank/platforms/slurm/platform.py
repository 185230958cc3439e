"""A Slurm cluster, through its own commands, here or over ssh; it shares the file system of the run directory.

squeue is asked first: a job that it lists has not ended, also when it was requeued. Then the accounting reports how it
ended, or the controller where there is no accounting. The reason of the end is read from the run directory.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tao_skill_bank.contracts import Finding, Job, JobRecord, JobStatus, Launch, Plan
from tao_skill_bank.errors import BackendError, ConflictError
from tao_skill_bank.platforms import answers, run_files
from tao_skill_bank.platforms.slurm import nodes as slurm_nodes
from tao_skill_bank.platforms.slurm import options as slurm_options
from tao_skill_bank.platforms.slurm import probe as slurm_probe
from tao_skill_bank.platforms.slurm import refusals, rows
from tao_skill_bank.platforms.slurm import render as slurm_render
from tao_skill_bank.platforms.slurm import status as slurm_status
from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.status import ACCEPTED, SAID
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory, write_whole

NUMBER, LOGIN_HOST, GRACE = "slurm_job_id", "login_host", "grace_seconds"
POLL_SECONDS = 0.5
RECONCILE_SECONDS = 10.0  # sacct lags by 2 s, and a busy controller by more
STOP_SECONDS = 120.0  # KillWait of the cluster, 30 s by default, plus a margin
FOLLOW_SECONDS = 2.0  # between two queries of the controller while a log is followed


@dataclass(frozen=True)
class Slurm:
    """Runs a job as one sbatch script with an srun on every node."""

    name: str = "slurm"
    one_machine: bool = False
    number_options: tuple[str, ...] = ("cpus_per_task", "grace_seconds", "save_seconds")
    text_options: tuple[str, ...] = (
        *slurm_options.NAMES,
        *("extra", "time_limit", "mem", "requeue", "python", "host", "container", "mounts"),
    )
    host_key: str | None = None

    def runs_here(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Its nodes count as other machines, even where one of them submits."""
        return False

    def uses_image(self, options: Mapping[str, Any]) -> bool:
        """A job runs in a container if an option asks for it."""
        return "container" in options

    def shares(self, path: str, options: Mapping[str, Any]) -> bool | None:  # noqa: ARG002 - the protocol names them
        """What the nodes mount is not known here."""
        return None

    def interpreter(self, options: Mapping[str, Any]) -> str | None:
        """Return that of the nodes; None for one of a container."""
        return None if self.uses_image(options) else str(options.get("python", sys.executable))

    def probe(self, job: Job) -> list[Finding]:
        """Ask the cluster whether it could ever run `job`.

        Raises:
            RequestError: options that Slurm would not understand.

        """
        return slurm_probe.findings(job, slurm_options.of(job))

    def render(self, plan: Plan) -> Launch:
        """Return the sbatch script, the config of a restart, and the sbatch command."""
        options = slurm_options.of(plan.job)
        script = str(Path(plan.job.results_dir) / slurm_render.SCRIPT_FILE)
        return Launch(slurm_render.files(plan, options), Cluster(options.host).argv("sbatch", "--parsable", script))

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Send the script, once. A job whose number is not known is looked up by its name, now and by `status`.

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
        except BackendError as error:
            is_accepted, said = False, str(error)
        else:
            _require_accepted(cluster, done)
            if (number := rows.submitted(done.stdout)) is not None and done.returncode == 0:
                return {**reference, NUMBER: number}
            is_accepted, said = done.returncode == 0, f"{done.stdout} {done.stderr}"
        if (number := _reconcile(cluster, name)) is not None:
            return {**reference, NUMBER: number}
        return {**reference, ACCEPTED: int(is_accepted), SAID: answers.words(said)}

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from squeue, then from the accounting or the controller, with the reasons from the run directory."""
        run = RunDirectory.of(record.results_dir, record.id)
        cluster = _cluster(record, run)
        listed = cluster.active(record.id)
        progress = run.last_status()
        if listed is not None:
            return slurm_status.active(record, listed, progress)
        number = _number(cluster, record)
        over = None
        try:
            over = None if number is None else cluster.ended(record.id, number)
        except BackendError:
            if run.exit_code() is None:  # which says it without the cluster
                raise
        progress = run.last_status()  # the last line was written before the cluster reported the end
        if over is None:
            return slurm_status.forgotten(record, run, progress, number)
        return slurm_status.over(record, run, over, progress)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the text of logs/job.log, which every node writes through its srun."""
        path = RunDirectory.of(record.results_dir, record.id).log_file
        is_over = run_files.rate_limited(lambda: self.status(record).state.is_terminal, FOLLOW_SECONDS)
        return run_files.log_text(path, is_over, follow=follow)

    def cancel(self, record: JobRecord) -> None:
        """Stop the job and wait until the cluster no longer lists it; a training saves itself first.

        Raises:
            BackendError: the cluster cannot be asked, or did not stop the job.

        """
        run = RunDirectory.of(record.results_dir, record.id)
        cluster = _cluster(record, run)
        if (listed := cluster.active(record.id)) is None:
            _cancel_unlisted(cluster, record, run)
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
            said = answers.words(done.stderr)
            message = f"Slurm job {listed.number} ({record.id}) could not be stopped. {said}".rstrip()
            raise BackendError.of("slurm_stop_failed", message, f"scancel --full {listed.number}", path=record.id)

    def avoiding(self, record: JobRecord, job: Job) -> dict[str, str]:
        """Return the option that excludes the nodes whose failure ended a job; nothing where too few would remain."""
        number = record.backend_ref.get(NUMBER)
        if number is None:
            return {}
        options = slurm_options.of(job)
        found = slurm_nodes.to_exclude(Cluster(options.host), str(number), options, job.resources.nodes)
        return {"exclude": ",".join([*([options.exclude] if options.exclude else []), *found])} if found else {}


def _cluster(record: JobRecord, run: RunDirectory) -> Cluster:
    """Return the cluster of a job, from its plan as long as the reference of the submission is not recorded."""
    if NUMBER in record.backend_ref or GRACE in record.backend_ref:
        return Cluster(record.backend_ref.get(LOGIN_HOST))
    plan = run.plan_document()
    host = plan.get("job", {}).get("platform", {}).get("options", {}).get("host")
    return Cluster(None if host is None else str(host))


def _number(cluster: Cluster, record: JobRecord) -> str | None:
    """Return Slurm's number of a job, by its name where sbatch did not give it; None where it is not known."""
    if (number := record.backend_ref.get(NUMBER)) is not None:
        return str(number)
    found = cluster.find(record.id, record.submitted_at)
    return found.number if found else None


def _require_accepted(cluster: Cluster, done: CompletedProcess[str]) -> None:
    """Raise the error of a submission that the cluster refused, or that did not reach it."""
    cluster.require_started(done, "sbatch")
    text = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0 and not refusals.is_unreachable(text):
        raise answers.RefusedError([refusals.refusal(text)])


def _reconcile(cluster: Cluster, name: str) -> int | None:
    """Return the number of a job that sbatch did not give; None when the cluster does not list it (yet).

    It is not cancelled: a busy controller lists late what it accepted.
    """
    deadline = time.monotonic() + RECONCILE_SECONDS
    with suppress(BackendError):
        while True:
            found = cluster.find(name, run_directory.timestamp())
            if found is not None:
                return int(found.number)
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
    return None


def _cancel_unlisted(cluster: Cluster, record: JobRecord, run: RunDirectory) -> None:
    """Stop a job that squeue does not list: one that has ended, or one that a busy controller lists late."""
    number = _number(cluster, record)
    over = None if number is None else cluster.ended(record.id, number)
    is_over = over is not None and over.meaning[0].is_terminal
    if is_over or run.exit_code() is not None or run.cancel_file.exists():
        return
    done = cluster.call("scancel", f"--name={record.id}" if number is None else number)
    is_stopped = number is not None and done.returncode == 0
    if not is_stopped and GRACE in record.backend_ref and slurm_status.is_new(record):
        message = f"The cluster does not list job {record.id} yet; it was sent a moment ago, and may still start."
        fix = f"Again in some minutes: tao-skills cancel {record.id}"
        raise BackendError.of("slurm_not_listed", message, fix, path=record.id)
    with suppress(OSError):
        write_whole(run.cancel_file, "")


def _is_gone(cluster: Cluster, name: str, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while cluster.active(name) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


PLATFORM = Slurm()
