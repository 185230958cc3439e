"""The state of a job, from the API server and from what the run directory or the pods report."""

import time
from dataclasses import replace
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, JobRecord, JobStatus, State
from tao_skill_bank.platforms import run_files
from tao_skill_bank.platforms.kubernetes.pods import Pod, View
from tao_skill_bank.runs import run_directory

STOPPED = (137, 143, EXIT_INTERRUPTED)  # exit codes of programs that a signal stopped
SETTLE_SECONDS = 10.0  # until a shared file system shows the last lines of a run directory
DEADLINE = "It reached its deadline; --option deadline_seconds raises it."
MEMORY = "The memory of its pod was used up: raise --option memory, or lower the workers and batch sizes."


def of(record: JobRecord, view: View, progress: dict[str, Any], *, was_cancelled: bool) -> JobStatus:
    """Return the state of a job that the server knows."""
    ended = view.condition("Complete", "Failed")
    if ended is None:
        return _active(record, view, progress)
    if ended["type"] == "Failed":
        return _failed(record, view, progress, ended, was_cancelled=was_cancelled)
    age = time.time() - (run_directory.epoch_seconds(ended.get("lastTransitionTime")) or 0.0)
    if progress.get("state") != "SUCCESS" and age < SETTLE_SECONDS:
        message = "Its pods have succeeded; waiting for their last files."
        return JobStatus(record.id, State.RUNNING, message, progress=progress)
    return run_files.ended(record, 0, progress, was_cancelled=was_cancelled)


def _active(record: JobRecord, view: View, progress: dict[str, Any]) -> JobStatus:
    reported = str(progress.get("message") or "")
    if view.is_deleted:
        message = f"It is being deleted; its pods may still save their state. {reported}".rstrip()
        return JobStatus(record.id, State.RUNNING, message, progress=progress)
    if view.is_running:
        return JobStatus(record.id, State.RUNNING, reported or view.reason, progress=progress)
    return JobStatus(record.id, State.PENDING, _waiting(view), progress=progress)


def _waiting(view: View) -> str:
    if view.is_suspended:
        queue = (view.owner["metadata"].get("labels") or {}).get("kueue.x-k8s.io/queue-name")
        if queue:
            return f"Waits until queue {queue} admits it."
        why = "its submission was interrupted, or a user suspended it"
        return f"It is suspended: {why}. Cancel it, or resume it with kubectl."
    problem = next((found for pod in view.newest if (found := pod.problem)), None)
    if problem is not None:
        return f"{problem.message} Cancel it. {problem.fix}"
    before = [pod for pod in view.pods if pod.is_over and pod.exit_code != 0]
    again = f"It starts again, after {_end_of(before[-1])}. " if before else ""
    return f"{again}Waits for its pods{f': {view.reason}' if view.reason else '.'}"


def _failed(
    record: JobRecord, view: View, progress: dict[str, Any], condition: dict[str, Any], *, was_cancelled: bool
) -> JobStatus:
    culprit = view.culprit
    code = culprit.exit_code if culprit is not None else None
    if not was_cancelled and run_files.is_complete(record, code, progress):
        return run_files.ended(record, code, progress, was_cancelled=False)
    if condition.get("reason") == "DeadlineExceeded" and (culprit is None or culprit.exit_code in STOPPED):
        saved = any(pod.exit_code == EXIT_INTERRUPTED for pod in view.pods)
        if saved:
            status = run_files.ended(record, EXIT_INTERRUPTED, progress, was_cancelled=was_cancelled)
            return replace(status, message=f"{DEADLINE} {status.message}")
        message = f"{DEADLINE} Resume it with: {run_files.resume_command(record)}"
        return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", None, progress)
    if culprit is not None:
        return _failed_by_itself(record, culprit, progress, was_cancelled=was_cancelled)
    if any(pod.exit_code == EXIT_INTERRUPTED for pod in view.pods):
        return run_files.ended(record, EXIT_INTERRUPTED, progress, was_cancelled=was_cancelled)
    why = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    lost = [pod for pod in view.pods if pod.disruption is not None]
    where = f" Pod {lost[-1].name}: {lost[-1].disruption}" if lost else ""
    message = f"An infrastructure failure ended it ({why}).{where} {run_files.retry_hint(record)}"
    return JobStatus(record.id, State.ERROR, message, "ERR_INFRA", None, progress)


def _failed_by_itself(record: JobRecord, culprit: Pod, progress: dict[str, Any], *, was_cancelled: bool) -> JobStatus:
    if culprit.terminated.get("reason") == "OOMKilled" and not was_cancelled:
        message = f"OOMKilled in pod {culprit.name}. {MEMORY}"
        return JobStatus(record.id, State.ERROR, message, "ERR_PROGRAM", culprit.exit_code, progress)
    status = run_files.ended(record, culprit.exit_code, progress, was_cancelled=was_cancelled)
    if progress.get("state") == "FAILURE" or not culprit.last_output:
        return status
    return replace(status, message=f"{status.message} Its last output: {culprit.last_output}")


def _end_of(pod: Pod) -> str:
    if pod.disruption is not None:
        return f"the cluster evicted pod {pod.name} ({pod.disruption})"
    return f"pod {pod.name} ended with exit code {pod.exit_code}"
