"""This machine: a detached process group that outlives its launcher, found again by number and start time."""

import importlib.util
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tao_skill_bank import settings, torchrun
from tao_skill_bank.contracts import EXIT_INTERRUPTED, Finding, Job, JobRecord, JobStatus, Launch, Plan, State
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import _processes
from tao_skill_bank.run_directory import RunDirectory, write_whole

LOG_POLL_SECONDS = 0.2
DEFAULT_GRACE_SECONDS = 120.0  # a training finishes its step and saves itself
INTERRUPTED = "interrupted"  # the trainer's word for it
NOTHING_LOST = "Nothing was trained yet. Run the same again with train.resume=true."

SCRIPT = """\
#!/usr/bin/env bash
# Job {job_id}: rendered by tao-skill-bank for platform local. Output goes to logs/job.log.
set -euo pipefail
cd {results_dir}

# The exit code is written whole or not at all, whatever ends the job short of SIGKILL.
record_exit_code() {{
  local code=$?
  trap '' TERM INT HUP
{on_signal}  printf '%s\\n' "$code" > logs/.exit_code.partial
  sync logs/.exit_code.partial
  mv -f logs/.exit_code.partial logs/exit_code
}}
trap record_exit_code EXIT
trap 'code=$?; exit $((code ? code : 143))' TERM INT HUP  # the code of what was signaled with this script
trap : USR1  # it is for the trainer, which saves itself and ends

{environment}
{commands}"""

INTERRUPTED_AT_START = """\
  # A signal that came before the trainer listened: nothing is lost, and run again with train.resume=true it begins.
  if [[ $code == 138 || $code == 143 ]] && ! grep -qs '"state": "RUNNING"' status.jsonl; then code=75; fi
"""
GPU_ENVIRONMENT = """\
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"  # fewer fragments between gradients
"""
CPU_ENVIRONMENT = """\
export CUDA_VISIBLE_DEVICES=""
cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-$((cores > {processes} ? cores / {processes} : 1))}}"
"""


@dataclass(frozen=True)
class Local:
    """Runs a job as processes of this machine."""

    name: str = "local"
    runs_here: bool = True
    number_options: tuple[str, ...] = ("grace_seconds",)
    text_options: tuple[str, ...] = ("devices",)

    def probe(self, job: Job) -> list[Finding]:
        """Report what this machine lacks to run `job`."""
        findings = []
        if job.resources.nodes > 1:
            message = f"Platform local is one machine; the job asks for {job.resources.nodes} nodes."
            fix = "Set platform.nodes=1 (policy.parallelism.dp_replicate_size=1), or use platform slurm or kubernetes."
            findings.append(Finding("local_single_node", "blocking", message, fix, "platform.nodes"))
        if importlib.util.find_spec("torch") is None:
            message = f"Training needs the Python module 'torch', which {sys.executable} does not have."
            fix = "pip install 'tao-skill-bank[train]'"
            findings.append(Finding("missing_extra", "warning", message, fix, "torch", {"blocks_run": True}))
        return findings

    def render(self, plan: Plan) -> Launch:
        """Return launch.sh and the command that runs it."""
        job = plan.job
        fetch = (sys.executable, "-m", "tao_skill_bank.training.fetch")
        commands = [*((*fetch, uri, folder) for uri, folder in job.fetches), torchrun.command(job)]
        if plan.study is not None:
            commands = [(sys.executable, "-m", "tao_skill_bank.automl.controller", "--run", job.results_dir)]
        script = SCRIPT.format(
            job_id=job.id,
            results_dir=shlex.quote(job.results_dir),
            environment=_environment(plan),
            on_signal=INTERRUPTED_AT_START if job.workload.trains else "",
            commands="".join(f"{shlex.join(command)}\n" for command in commands),
        )
        return Launch({"launch.sh": script}, ("bash", str(Path(job.results_dir) / "launch.sh")))

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Start launch.sh in a session of its own.

        Raises:
            BackendError: the process could not be started.

        """
        run = RunDirectory(Path(plan.job.results_dir))
        environment = settings.child_environment(**{_processes.JOB_VARIABLE: plan.job.id})
        try:
            run.log_file.parent.mkdir(parents=True, exist_ok=True)
            process = _processes.spawn(plan.argv, environment, str(run.log_file))
            start_time = process.create_time()
        except (OSError, psutil.Error) as error:
            message = f"The job's process could not be started: {error}"
            fix = f"See that {plan.argv[0]} is installed and {run.path} is writable, then run the plan again."
            raise BackendError.of("local_start_failed", message, fix, path=str(run.path)) from None
        grace_seconds = float(plan.job.platform.options.get("grace_seconds", DEFAULT_GRACE_SECONDS))
        return {
            "pid": process.pid,
            "start_time": start_time,
            "host": socket.gethostname(),
            "grace_seconds": grace_seconds,
        }

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from the processes, then from the exit code that they left."""
        run = RunDirectory.of(record.results_dir, record.id)
        is_here = record.backend_ref.get("host", socket.gethostname()) == socket.gethostname()
        live = is_here and _leader(record) is not None
        exit_code = run.exit_code()  # read after the look at the process: it is written before the process ends
        progress = run.last_status()
        orphans = [] if live or not is_here else _processes.of_job(record.id)
        if live or (orphans and exit_code is None):
            state = State.RUNNING if progress else State.PENDING
            return JobStatus(record.id, state, str(progress.get("message") or ""), progress=progress)
        if exit_code is None and not (is_here and "pid" in record.backend_ref):
            where = "No process of it is here." if is_here else f"Only host {record.backend_ref['host']} can tell."
            return JobStatus(record.id, State.UNKNOWN, where, progress=progress)
        status = _ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists())
        return _with_orphans(status, orphans)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield the lines of logs/job.log."""
        path = RunDirectory.of(record.results_dir, record.id).log_file
        while follow and not path.is_file() and not self._is_over(record):
            time.sleep(LOG_POLL_SECONDS)
        if not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            rest = ""
            while True:
                is_over = not follow or self._is_over(record)  # asked before the read that must see the last line
                for line in file:
                    rest += line
                    if rest.endswith("\n"):
                        yield rest.rstrip("\n")
                        rest = ""
                if is_over:
                    break
                time.sleep(LOG_POLL_SECONDS)
            if rest:
                yield rest

    def cancel(self, record: JobRecord) -> None:
        """Stop the job's processes, orphans of an ended job included.

        Raises:
            BackendError: the job runs on another machine, or its processes could not be stopped.

        """
        run = RunDirectory.of(record.results_dir, record.id)
        host = record.backend_ref.get("host", socket.gethostname())
        if host != socket.gethostname():
            message = f"Job {record.id} runs on host {host}."
            raise BackendError.of("other_host", message, f"On {host}: tao-skills cancel {record.id}", path=record.id)
        leader = _leader(record)
        if leader is None and not _processes.of_job(record.id):
            return
        with suppress(OSError):  # a full disk must not keep a job alive
            write_whole(run.cancel_file, "")
        grace_seconds = float(record.backend_ref.get("grace_seconds", DEFAULT_GRACE_SECONDS))
        _processes.stop(record.id, leader, grace_seconds)
        if left := _processes.of_job(record.id):
            numbers = ", ".join(str(process.pid) for process in left)
            message = f"Processes of job {record.id} could not be stopped: {numbers}"
            raise BackendError.of("local_stop_failed", message, f"As their owner: kill -9 {numbers}", path=record.id)

    def _is_over(self, record: JobRecord) -> bool:
        return self.status(record).state.is_terminal


def _environment(plan: Plan) -> str:
    job = plan.job
    lines = (
        f"export {_processes.JOB_VARIABLE}={shlex.quote(job.id)}\n"
        "export PYTHONUNBUFFERED=1\n"
        "export PYTHONSAFEPATH=1  # the run directory is no place to import from\n"
        "export TOKENIZERS_PARALLELISM=false\n"
        'export TORCHINDUCTOR_CACHE_DIR="'  # the next job finds what this one compiled
        '${TORCHINDUCTOR_CACHE_DIR:-${TAO_STATE_DIR:-${HOME:-/tmp}/.tao}/cache/inductor}"\n'
        f"export TAO_DEVICE={job.resources.device}\n"
    )
    at_once = 1 if plan.study is None else plan.study["parallel"]  # a search's trials take their share from here
    if job.resources.device == "cpu":
        return lines + CPU_ENVIRONMENT.format(processes=job.resources.processes_per_node * at_once)
    devices = job.platform.options.get("devices")
    chosen = f"export CUDA_VISIBLE_DEVICES={shlex.quote(str(devices))}\n" if devices is not None else ""
    return lines + chosen + GPU_ENVIRONMENT


def _leader(record: JobRecord) -> psutil.Process | None:
    pid, start_time = record.backend_ref.get("pid"), record.backend_ref.get("start_time")
    return None if pid is None or start_time is None else _processes.find(int(pid), float(start_time))


def _ended(record: JobRecord, exit_code: int | None, progress: dict[str, Any], *, was_cancelled: bool) -> JobStatus:
    """Return the terminal state of a job whose processes are gone."""
    reported = progress.get("state")
    if exit_code == 0 and reported == "SUCCESS":
        return JobStatus(record.id, State.COMPLETE, str(progress.get("message") or ""), None, 0, progress)
    diagnosis = progress.get("diagnosis") or {}
    is_saved = reported == "FAILURE" and diagnosis.get("code") == INTERRUPTED
    if was_cancelled:
        message = f"Cancelled on request. {diagnosis.get('cause') if is_saved else ''}".rstrip()
        return JobStatus(record.id, State.CANCELED, message, None, exit_code, progress)
    if exit_code is None:
        message = f"Its processes are gone and left no exit code: they were killed, or {record.results_dir} is full"
        message += "; the trainer had reported SUCCESS." if reported == "SUCCESS" else "."
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", None, progress)
    if exit_code == EXIT_INTERRUPTED:
        reason = _reason(record, progress) if is_saved else NOTHING_LOST
        message = f"Interrupted by a signal, not failed (exit code {exit_code}). {reason}"
        return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", exit_code, progress)
    message = f"Exit code {exit_code}. {_reason(record, progress)}"
    return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", exit_code, progress)


def _reason(record: JobRecord, progress: dict[str, Any]) -> str:
    if progress.get("state") != "FAILURE":
        return f"The trainer reported neither success nor failure; see: tao-skills diagnose {record.id}"
    diagnosis = progress.get("diagnosis") or {}
    parts = (diagnosis.get("cause"), diagnosis.get("cure"), None if diagnosis else progress.get("message"))
    return " ".join(str(part) for part in parts if part)


def _with_orphans(status: JobStatus, orphans: list[psutil.Process]) -> JobStatus:
    if not orphans:
        return status
    numbers = ", ".join(str(process.pid) for process in orphans)
    message = f"{status.message} Processes {numbers} are left; tao-skills cancel {status.id} stops them."
    return JobStatus(status.id, status.state, message, status.err_class, status.exit_code, status.progress)


PLATFORM = Local()
