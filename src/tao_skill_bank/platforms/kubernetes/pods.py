"""A job as an API server shows it: the object that owns it, its pods and their events."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, EXIT_PEER_LOST
from tao_skill_bank.core import json_reader
from tao_skill_bank.errors import Problem
from tao_skill_bank.platforms.kubernetes import refusals
from tao_skill_bank.platforms.kubernetes.client import Object
from tao_skill_bank.runs import status_lines

INDEX = "batch.kubernetes.io/job-completion-index"
STATUS_MARK = "tao-status "  # of the lines of a pod's log that report progress: training/pod.py writes them
NODE_FAILURES = ("DeletionByTaintManager", "DeletionByPodGC")  # its node is not ready, or is gone
RETRIED = (0, EXIT_INTERRUPTED, EXIT_PEER_LOST)
# Why a container does not start, where waiting does not help: (reason, code, message, fix, path).
NEVER_STARTS = (
    (("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"), "image_missing",
     "The image cannot be pulled.",
     "Correct `image` of the request; where the registry asks for a login: --option image_pull_secret=NAME", "image"),
    (("CreateContainerConfigError",), "secret_missing", "A Secret, or a key of it, is missing.",
     "Put the key into the Secret that --option secret names, or name another one.", "platform.options.secret"),
    (("CreateContainerError", "RunContainerError"), "container_not_started", "The container cannot be started.",
     "See that the image has bash and the interpreter of --option python.", "image"),
)  # fmt: skip


@dataclass(frozen=True)
class Pod:
    """One pod of a job."""

    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def created(self) -> str:
        return str(self.object["metadata"].get("creationTimestamp", ""))

    @property
    def index(self) -> int:
        metadata = self.object["metadata"]
        found = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
        return int(found.get(INDEX, 0))

    @property
    def phase(self) -> str:
        return str(self.object.get("status", {}).get("phase", "Pending"))

    @property
    def is_over(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def terminated(self) -> Object:
        """How its container ended; empty before."""
        state: Object = self._container.get("state", {}).get("terminated") or {}
        return state

    @property
    def exit_code(self) -> int | None:
        return self.terminated.get("exitCode")

    @property
    def ended(self) -> str:
        return str(self.terminated.get("finishedAt", ""))

    @property
    def disruption(self) -> str | None:
        """Why the cluster evicted the pod; None when it did not."""
        found = self._condition("DisruptionTarget")
        if found is None or found.get("status") != "True":
            return None
        return str(found.get("message") or found.get("reason") or "the cluster evicted it")

    @property
    def node(self) -> str:
        """The node that it runs or ran on; empty before it has one."""
        return str(self.object.get("spec", {}).get("nodeName") or "")

    @property
    def lost_node(self) -> bool:
        """Whether it ended because its node failed, not for another pod or for its resources."""
        found = self._condition("DisruptionTarget") or {}
        return found.get("status") == "True" and found.get("reason") in NODE_FAILURES

    @property
    def last_status(self) -> dict[str, Any]:
        """The last line of status.jsonl as the pod left it in its termination message."""
        try:
            found = json_reader.loads(self.terminated.get("message") or "")
        except ValueError:
            return {}
        status = found.get("status") if isinstance(found, dict) else None
        return status_lines.plain(status) if isinstance(status, dict) else {}

    @property
    def last_output(self) -> str:
        """The last line that it printed, where it ended before it could leave a termination message."""
        message = str(self.terminated.get("message") or "").strip()
        return "" if self.last_status or message.startswith("{") else message.rpartition("\n")[2]

    @property
    def waits_for(self) -> str:
        """Why it does not run yet."""
        scheduled = self._condition("PodScheduled") or {}
        if scheduled.get("status") == "False":
            return f"{scheduled.get('reason', '')}: {scheduled.get('message', '')}".strip(": ")
        waiting = self._container.get("state", {}).get("waiting") or {}
        return f"{waiting.get('reason', '')}: {waiting.get('message', '')}".strip(": ")

    @property
    def problem(self) -> Problem | None:
        """Why it will never run, where that is certain."""
        waiting = self._container.get("state", {}).get("waiting") or {}
        for reasons, code, message, fix, where in NEVER_STARTS:
            if waiting.get("reason") in reasons:
                said = waiting.get("message") or waiting["reason"]
                return Problem(code, f"{message} Kubernetes reports of pod {self.name}: {said}", fix, where)
        return None

    @property
    def _container(self) -> Object:
        found = self.object.get("status", {}).get("containerStatuses") or [{}]
        return found[0] or {}

    def _condition(self, kind: str) -> Object | None:
        conditions = self.object.get("status", {}).get("conditions") or ()
        return next((found for found in conditions if found.get("type") == kind), None)


@dataclass(frozen=True)
class View:
    """A job as the server shows it now."""

    owner: Object
    pods: tuple[Pod, ...]
    events: tuple[Object, ...] = ()

    @property
    def is_deleted(self) -> bool:
        return "deletionTimestamp" in self.owner["metadata"]

    @property
    def is_suspended(self) -> bool:
        return self.owner["spec"].get("suspend") is True

    @property
    def is_running(self) -> bool:
        """Whether a pod is running; `active` of a Job would count those that wait as well."""
        ready = self.owner.get("status", {}).get("ready") or 0
        return ready >= 1 or any(pod.phase == "Running" for pod in self.pods)

    @property
    def lacks_pods(self) -> bool:
        """Whether some of its pods do not exist yet."""
        spec = self.owner["spec"]
        return len(self.newest) < (spec.get("completions") or spec.get("trainer", {}).get("numNodes") or 1)

    @property
    def prepared(self) -> str | None:
        """The name of a pod that has a node and no container yet: its events say why."""
        creating = (pod.name for pod in self.newest if pod.waits_for.startswith("ContainerCreating"))
        return next(creating, None)

    @cached_property
    def newest(self) -> tuple[Pod, ...]:
        """The last pod of every index."""
        found = {pod.index: pod for pod in sorted(self.pods, key=lambda pod: pod.created)}
        return tuple(found[index] for index in sorted(found))

    @property
    def culprit(self) -> Pod | None:
        """The pod that failed first by its own fault; None when no pod did."""
        failed = [
            pod
            for pod in self.pods
            if pod.exit_code is not None and pod.exit_code not in RETRIED and pod.disruption is None
        ]
        return min(failed, key=lambda pod: pod.ended, default=None)

    @property
    def reason(self) -> str:
        """Why it waits, as the cluster reports it."""
        waits = next((pod.waits_for for pod in self.newest if not pod.is_over and pod.waits_for), "")
        refused = _failures(self.events)
        if refused:
            return refused[-1]
        newest = max(self.events, key=_moment, default=None)
        if newest is None or (newest.get("involvedObject") or {}).get("kind") != "Pod":
            return waits
        return f"{newest.get('reason', '')}: {newest.get('message', '')}".strip(": ")

    def condition(self, *kinds: str) -> Object | None:
        conditions = self.owner.get("status", {}).get("conditions") or ()
        return next((found for found in conditions if found["type"] in kinds and found["status"] == "True"), None)

    def problem(self, namespace: str) -> Problem | None:
        """Return why the job will not start, where that is certain."""
        found = next((problem for pod in self.newest if (problem := pod.problem)), None)
        if found is not None or not self.lacks_pods:
            return found
        refused = (message for message in _failures(self.events) if refusals.is_final(message))
        return next((refusals.refusal(message, namespace) for message in refused), None)


def status_line(lines: Iterable[str]) -> dict[str, Any]:
    """Return the newest line of status.jsonl in a pod's log."""
    newest: dict[str, Any] = {}
    for line in lines:
        if line.startswith(STATUS_MARK):
            try:
                found = json_reader.loads(line.removeprefix(STATUS_MARK))
            except ValueError:  # the line is cut
                continue
            newest = status_lines.plain(found) if isinstance(found, dict) else newest
    return newest


def _moment(event: Object) -> str:
    """Return when an event was seen last."""
    found = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(found or "")


def _failures(events: Iterable[Object]) -> list[str]:
    """Return why pods of a job could not be made."""
    return [str(event.get("message", "")) for event in events if event.get("reason") == "FailedCreate"]
