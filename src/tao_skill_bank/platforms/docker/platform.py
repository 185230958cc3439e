"""A local or remote Docker daemon, through its own command; it shares the file system of the run directory.

The container is named by the job's id and is removed only once its end is saved in the run directory, so that a later
query, also by another process, gets the same answer. The reason of the end is read from the run directory.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import images
from tao_skill_bank.contracts import Finding, Job, JobRecord, JobStatus, Launch, Plan, State
from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, ConflictError
from tao_skill_bank.platforms import answers, machines, run_files
from tao_skill_bank.platforms.answers import RefusedError
from tao_skill_bank.platforms.docker import options as docker_options
from tao_skill_bank.platforms.docker import probe as docker_probe
from tao_skill_bank.platforms.docker import refusals
from tao_skill_bank.platforms.docker import render as docker_render
from tao_skill_bank.platforms.docker import status as docker_status
from tao_skill_bank.platforms.docker.client import ACTIVE, Container, Daemon, saved_container
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory, masked_json, write_whole

CONTAINER, HOST, CONTEXT, MACHINE = "container_id", "docker_host", "docker_context", "machine"
GRACE, KEEP = "grace_seconds", "keep"
CONTAINER_ID = re.compile(r"^[0-9a-f]{12,64}$", re.MULTILINE)  # a line of its own, below whatever else is printed
POLL_SECONDS = 0.2
RUN_SECONDS = 300.0  # a busy disk is slow to unpack a large image
RECONCILE_SECONDS = 5.0
SETTLE_SECONDS = 10.0  # until a shared file system shows the last lines of a run directory
STOP_SECONDS = 30.0  # in addition to the grace period
FOLLOW_SECONDS = 1.0  # between two queries of the daemon while a log is followed
LAST_LINES = "20"


@dataclass(frozen=True)
class Docker:
    """Runs a job as one container of one machine."""

    name: str = "docker"
    one_machine: bool = True
    number_options: tuple[str, ...] = ("cpus", "grace_seconds")
    text_options: tuple[str, ...] = (*docker_options.TEXTS, *docker_options.FLAGS)
    host_key: str | None = MACHINE

    def runs_here(self, options: Mapping[str, Any]) -> bool:
        """Return whether the daemon is on this machine, as far as its address shows."""
        return not docker_options.is_remote(docker_options.host(options) or settings.docker_host())

    def uses_image(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Every job runs in one."""
        return True

    def shares(self, path: str, options: Mapping[str, Any]) -> bool | None:  # noqa: ARG002 - the protocol names it
        """A daemon of this machine mounts what the job names; what another machine has is not known here."""
        return True if self.runs_here(options) else None

    def interpreter(self, options: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - the protocol names it
        """It is that of the image."""
        return None

    def probe(self, job: Job) -> list[Finding]:
        """Ask the daemon whether it could run `job`.

        Raises:
            RequestError: options that Docker would not understand.

        """
        return docker_probe.findings(job, docker_options.of(job))

    def render(self, plan: Plan) -> Launch:
        """Return the script and the `docker run` that starts it."""
        return docker_render.launch(plan, docker_options.of(plan.job))

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Start the container. A lost answer is looked up by the job's name, and nothing is ever started twice.

        Raises:
            ConflictError: the daemon has a container of this name.
            BlockedError: the daemon refuses the request.
            BackendError: the daemon did not take the job.

        """
        job, options = plan.job, docker_options.of(plan.job)
        daemon = Daemon.current(options.host)
        for folder in (RunDirectory(Path(job.results_dir)).log_file.parent, *map(Path, docker_render.state_folders())):
            folder.mkdir(parents=True, exist_ok=True)
        if (there := daemon.inspect(job.id)) is not None:
            raise _name_taken(job.id, f", which is {there.status}")
        reference: dict[str, str | int | float] = {GRACE: options.grace_seconds, KEEP: int(options.keep)}
        reference |= {name: value for name, value in ((HOST, daemon.host), (CONTEXT, daemon.context)) if value}
        reference |= {} if daemon.is_remote else {MACHINE: machines.here()}
        try:
            done = daemon.start(plan.argv, RUN_SECONDS)
        except BackendError as error:
            return reference | _reconcile(daemon, job.id, str(error))
        numbers = CONTAINER_ID.findall(done.stdout)
        if done.returncode == 0 and len(numbers) == 1:
            return {**reference, CONTAINER: numbers[0]}
        if done.returncode == 0 or refusals.is_unreachable(done.stderr):
            return reference | _reconcile(daemon, job.id, done.stderr)
        raise _refused(daemon, job, done.stderr)

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from the daemon, then from the saved end, with the reasons from the run directory."""
        run = RunDirectory.of(record.results_dir, record.id)
        daemon = _daemon(record, run)
        elsewhere = machines.other(record, MACHINE)
        container = None if elsewhere else daemon.inspect(_name(record))
        progress = run.last_status()  # the last line was written before the container ended
        if container is not None and container.status in ACTIVE:
            return _active(record, container, progress)
        if container is not None and container.status == "exited":
            container = replace(container, output=_last_lines(daemon, container.id))
            progress = run.last_status()
            if daemon.is_remote and not docker_status.is_settled(run, container, progress, SETTLE_SECONDS):
                message = "Its container ended; waiting for its last files."
                return JobStatus(record.id, State.RUNNING, message, progress=progress)
            _save_end_and_remove(record, run, daemon, container)
            return docker_status.meaning(record, run, container, progress)
        saved = _saved_end(run, record.id)
        if saved is not None:
            return docker_status.meaning(record, run, saved, progress)
        exit_code = run.exit_code()
        if exit_code is not None:
            return run_files.ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists())
        return _unknown(record, elsewhere, container, progress)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the text of logs/job.log."""
        path = RunDirectory.of(record.results_dir, record.id).log_file
        is_over = run_files.rate_limited(lambda: self.status(record).state.is_terminal, FOLLOW_SECONDS)
        return run_files.log_text(path, is_over, follow=follow)

    def cancel(self, record: JobRecord) -> None:
        """Stop the container: SIGTERM, by which a training saves itself, and after the grace period SIGKILL.

        Raises:
            BackendError: the daemon cannot be asked, or did not stop it.

        """
        if elsewhere := machines.other(record, MACHINE):
            message, fix = machines.message(record, elsewhere), machines.fix(record, elsewhere, "cancel")
            raise BackendError.of("other_host", message, fix, path=record.id)
        run = RunDirectory.of(record.results_dir, record.id)
        daemon = _daemon(record, run)
        container = daemon.inspect(_name(record))
        if container is None or container.status not in ACTIVE:
            return
        with suppress(OSError):  # a full disk must not keep a job alive
            write_whole(run.cancel_file, "")
        if container.status == "created":  # it never ran
            daemon.call("container", "rm", container.id)
            return
        if container.status == "paused":
            daemon.call("unpause", container.id)
        grace_seconds = float(record.backend_ref.get(GRACE, docker_options.DEFAULT_GRACE_SECONDS))
        done = daemon.call(
            "stop", "-t", str(round(grace_seconds)), container.id, timeout_seconds=grace_seconds + STOP_SECONDS
        )
        left = daemon.inspect(container.id)
        if left is not None and left.status in ACTIVE:
            message = (
                f"Container {record.id} could not be stopped. {answers.words(refusals.said(done.stderr))}".rstrip()
            )
            raise BackendError.of("docker_stop_failed", message, f"docker kill {record.id}", path=record.id)

    def avoiding(self, record: JobRecord, job: Job) -> dict[str, str]:  # noqa: ARG002 - the protocol names them
        """It is one machine: there is no other."""
        return {}


def _name(record: JobRecord) -> str:
    """Return the id or name by which a job's container is found."""
    return str(record.backend_ref.get(CONTAINER, record.id))


def _daemon(record: JobRecord, run: RunDirectory) -> Daemon:
    """Return the daemon of a job, from its plan as long as the reference of the submission is not recorded."""
    reference = record.backend_ref
    if GRACE in reference:
        return Daemon(reference.get(HOST), reference.get(CONTEXT))
    plan = run.plan_document()
    return Daemon(docker_options.host(plan.get("job", {}).get("platform", {}).get("options", {})))


def _name_taken(name: str, state: str) -> ConflictError:
    message = f"The daemon has a container named {name} already{state}."
    fix = f"Plan the request again for another name, or remove that one: docker rm --force {name}"
    return ConflictError.of("job_name_taken", message, fix, path=name)


def _refused(daemon: Daemon, job: Job, stderr: str) -> BackendError | ConflictError:
    """Return the error of a container that was not started, after removing what is left of it."""
    if refusals.NAME_TAKEN.search(stderr):  # another process has just taken it
        return _name_taken(job.id, "")
    _remove_unstarted(daemon, job.id)
    failure = daemon.failure(stderr)
    is_refusal = isinstance(failure, RefusedError)
    return RefusedError([refusals.refusal(stderr, images.get(str(job.image)))]) if is_refusal else failure


def _remove_unstarted(daemon: Daemon, name: str) -> None:
    with suppress(BackendError):
        there = daemon.inspect(name)
        if there is not None and there.status == "created" and there.label == name:
            daemon.call("container", "rm", name)  # without force, which would end one that has just started


def _reconcile(daemon: Daemon, name: str, stderr: str) -> dict[str, str]:
    """Return the reference of a container whose `docker run` gave no answer; empty when the daemon gives none either.

    Raises:
        BackendError: the daemon answers, and has started no such container.

    """
    deadline = time.monotonic() + RECONCILE_SECONDS
    try:
        while True:
            there = daemon.inspect(name)
            if there is not None and there.label == name and there.status != "created":
                return {CONTAINER: there.id}
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_SECONDS)
        _remove_unstarted(daemon, name)
        there = daemon.inspect(name)
        if there is not None and there.label == name and there.status != "created":  # it started that very moment
            return {CONTAINER: there.id}
    except BackendError:
        return {}  # status finds it by its name
    message = f"docker run gave no answer, and the daemon runs no container named {name}. "
    message += answers.words(refusals.said(stderr))
    fix = "See that the daemon is up (docker info), then plan the request again."
    raise BackendError.of("docker_submit_lost", message.rstrip(), fix, path=name)


def _active(record: JobRecord, container: Container, progress: dict[str, Any]) -> JobStatus:
    if container.status in ("created", "restarting"):
        why = f" {container.error}" if container.error else ""
        return JobStatus(record.id, State.PENDING, f"Its container is {container.status}.{why}", progress=progress)
    message = (
        "Its container is paused."
        if container.status == "paused"
        else str(progress.get("message") or run_files.STARTING)
    )
    return JobStatus(record.id, State.RUNNING, message, progress=progress)


def _unknown(
    record: JobRecord, elsewhere: str | None, container: Container | None, progress: dict[str, Any]
) -> JobStatus:
    if elsewhere:
        return machines.unknown(record, elsewhere, progress)
    message = f"Its container is {container.status}." if container else "The daemon has no such container."
    return JobStatus(record.id, State.UNKNOWN, message, progress=progress)


def _last_lines(daemon: Daemon, name: str) -> str:
    """Return the last lines of a container's own output; that of its script is in the run directory."""
    done = daemon.call("logs", "--tail", LAST_LINES, name)
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else ""


def _end_file(run: RunDirectory, job_id: str) -> Path:
    return run.path / "logs" / f"{job_id}.container.json"


def _saved_end(run: RunDirectory, job_id: str) -> Container | None:
    return saved_container(run_directory.read_object(_end_file(run, job_id)))


def _save_end_and_remove(record: JobRecord, run: RunDirectory, daemon: Daemon, container: Container) -> None:
    """Write how a container ended, then remove it. It stays when its end cannot be written."""
    path = _end_file(run, record.id)
    with suppress(OSError, BackendError):
        write_whole(path, masked_json(container.to_json()))
        if not record.backend_ref.get(KEEP):
            daemon.call("container", "rm", container.id)


PLATFORM = Docker()
