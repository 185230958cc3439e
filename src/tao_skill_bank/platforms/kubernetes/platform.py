"""A Kubernetes cluster through its API server: an Indexed Job, or a Kubeflow TrainJob, whose pods share storage.

The manifests are sent suspended, so that no pod starts before all that it reads exists, and then released. The state
is that of the job and its pods on the server; the reason of the end is read from the run directory where it is visible
from here, else from the logs and termination messages of the pods.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding, Job, JobRecord, JobStatus, Launch, Plan, State
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError, Problem, TaoSkillsError
from tao_skill_bank.platforms import run_files
from tao_skill_bank.platforms.answers import RefusedError
from tao_skill_bank.platforms.kubernetes import logs as kubernetes_logs
from tao_skill_bank.platforms.kubernetes import nodes as kubernetes_nodes
from tao_skill_bank.platforms.kubernetes import options as kubernetes_options
from tao_skill_bank.platforms.kubernetes import pods
from tao_skill_bank.platforms.kubernetes import probe as kubernetes_probe
from tao_skill_bank.platforms.kubernetes import render as kubernetes_render
from tao_skill_bank.platforms.kubernetes import status as kubernetes_status
from tao_skill_bank.platforms.kubernetes.client import (
    AccountError,
    Cluster,
    LostAnswerError,
    NotFoundError,
    Object,
    TakenError,
)
from tao_skill_bank.platforms.kubernetes.pods import Pod, View
from tao_skill_bank.platforms.kubernetes.render import CONTAINER, MANIFEST_FILE, TRAINJOB_CONTAINER
from tao_skill_bank.runs.run_directory import RunDirectory, write_whole

NAMESPACE, CONTEXT, KUBECONFIG, RESOURCE, UID, GRACE = (
    *("namespace", "context", "kubeconfig", "resource", "uid", "grace_seconds"),
)
KINDS = {"job": "Job", "trainjob": "TrainJob"}
POLL_SECONDS = 0.5
START_SECONDS = 15.0  # in which a missing image or a used-up quota shows
RECONCILE_SECONDS = 10.0
STOP_SECONDS = 60.0  # in addition to the pods' grace period
FOLLOW_SECONDS = 2.0  # between two queries of the server while a log is followed
STATUS_LINES = 400  # of a pod's log that are looked through for progress


@dataclass(frozen=True)
class Kubernetes:
    """Runs a job as one pod on every node."""

    name: str = "kubernetes"
    one_machine: bool = False
    number_options: tuple[str, ...] = kubernetes_options.WHOLE_NUMBERS
    text_options: tuple[str, ...] = (*kubernetes_options.FORMS, *kubernetes_options.FLAGS)
    host_key: str | None = None

    def runs_here(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Jobs run on the nodes of the cluster."""
        return False

    def uses_image(self, options: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the protocol names it
        """Every job runs in one."""
        return True

    def shares(self, path: str, options: Mapping[str, Any]) -> bool | None:
        """Pods see nothing but their storage; what it holds is not known here."""
        return None if kubernetes_options.is_on_storage(path, options) else False

    def interpreter(self, options: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - the protocol names it
        """It is that of the image."""
        return None

    def probe(self, job: Job) -> list[Finding]:
        """Ask the cluster whether it would take `job` and could ever run it.

        Raises:
            RequestError: options that Kubernetes would not understand.

        """
        return kubernetes_probe.findings(job, kubernetes_options.of(job))

    def render(self, plan: Plan) -> Launch:
        """Return the manifests, the script and configs in them, and the command that creates the same by hand."""
        options = kubernetes_options.of(plan.job)
        words = ["kubectl", "create", "--filename", str(Path(plan.job.results_dir) / MANIFEST_FILE)]
        for flag, value in (("context", options.context), ("kubeconfig", options.kubeconfig)):
            words += [f"--{flag}", value] if value is not None else []
        return Launch(kubernetes_render.files(plan, options), tuple(words))

    def submit(self, plan: Plan) -> dict[str, str | int | float]:
        """Send the manifests: all of them pass a dry run first, and those created are deleted when one fails.

        Raises:
            ConflictError: the cluster has a job of this name.
            BlockedError: the cluster refuses the request, or the pods cannot start.
            BackendError: the cluster did not accept the job; nothing of it runs.

        """
        job, options = plan.job, kubernetes_options.of(plan.job)
        cluster = Cluster.connect(options.kubeconfig, options.context, options.namespace)
        *others, owner = yaml12.parse_all(plan.files[MANIFEST_FILE], MANIFEST_FILE)
        RunDirectory(Path(job.results_dir)).log_file.parent.mkdir(parents=True, exist_ok=True)
        _dry_run(cluster, [*others, owner], kubernetes_render.pod(job, options))
        uid = _create_owner(cluster, owner)
        reference: dict[str, str | int | float] = {
            NAMESPACE: cluster.namespace, RESOURCE: options.resource, UID: uid, GRACE: options.grace_seconds
        }  # fmt: skip
        reference |= {
            name: value
            for name, value in ((CONTEXT, options.context), (KUBECONFIG, options.kubeconfig))
            if value is not None
        }
        may_run = False
        try:
            for manifest in others:
                cluster.create(_owned(manifest, owner, uid))
            may_run = True
            if options.queue is None:
                _release(cluster, owner)
            _await_start(cluster, owner["kind"], job.id, options.resource)
        except (TaoSkillsError, TakenError, LostAnswerError, NotFoundError) as error:
            failure, is_deleted = _undo_creation(cluster, owner, uid, error)
            if is_deleted or not may_run:
                raise failure from None
        return reference  # also of a job that may run on a server that is unreachable now: status reports it

    def status(self, record: JobRecord) -> JobStatus:
        """Answer from the job and its pods, with the reasons from the run directory or from the pods."""
        run = RunDirectory.of(record.results_dir, record.id)
        job = _Submitted.of(record, run)
        view = job.look()
        if view is None:
            return _forgotten(record, run)
        was_cancelled = run.cancel_file.exists()
        return kubernetes_status.of(record, view, job.progress(view), was_cancelled=was_cancelled)

    def logs(self, record: JobRecord, *, follow: bool) -> Iterator[str]:
        """Yield what pod 0 printed, then the end of what another pod that failed printed.

        The lines come from logs/job.log where the run directory is visible from here, else from the server.
        """
        run = RunDirectory.of(record.results_dir, record.id)
        job = _Submitted.of(record, run)
        is_over = run_files.rate_limited(lambda: self.status(record).state.is_terminal, FOLLOW_SECONDS)
        while follow and not job.is_visible and not job.has_started() and not is_over():
            time.sleep(POLL_SECONDS)
        if job.is_visible:
            yield from run_files.log_text(run.log_file, is_over, follow=follow)
            lines = kubernetes_logs.other_failures(run)
        else:
            lines = kubernetes_logs.lines(job.cluster, job.container, job.look, is_over, follow=follow)
        yield from (f"{line}\n" for line in lines)

    def cancel(self, record: JobRecord) -> None:
        """Delete the job and wait until its pods are gone; they get their grace period, in which a training saves.

        Raises:
            BackendError: the cluster cannot be asked, or pods do not end.

        """
        run = RunDirectory.of(record.results_dir, record.id)
        job = _Submitted.of(record, run)
        if job.look() is None:
            return
        with suppress(OSError):  # a full disk must not keep a job alive
            write_whole(run.cancel_file, "")
        job.cluster.delete(job.kind, record.id, job.uid)
        grace_seconds = float(record.backend_ref.get(GRACE, kubernetes_options.DEFAULT_GRACE_SECONDS))
        if not job.is_gone(grace_seconds + STOP_SECONDS):
            left = [pod.name for pod in job.pods()] or [record.id]
            message = f"Job {record.id} is deleted, and these of its pods do not end: {', '.join(left)}."
            fix = "Where their node is lost: kubectl delete pod --force --grace-period=0"
            fix += f" --namespace {job.cluster.namespace} {' '.join(left)}"
            raise BackendError.of("kubernetes_stop_failed", message, fix, path=record.id)

    def avoiding(self, record: JobRecord, job: Job) -> dict[str, str]:
        """Return the option that excludes the nodes whose failure ended a job; nothing where too few would remain."""
        submitted = _Submitted.of(record, RunDirectory.of(record.results_dir, record.id))
        found = kubernetes_nodes.to_exclude(submitted.cluster, submitted.pods(), job, kubernetes_options.of(job))
        earlier = kubernetes_options.of(job).exclude
        return {"exclude": ",".join([*earlier, *found])} if found else {}


@dataclass(frozen=True)
class _Submitted:
    """A job on its cluster, as its record or, before there is a reference, its plan names them."""

    id: str
    cluster: Cluster
    resource: str
    uid: str | None
    run: RunDirectory

    @classmethod
    def of(cls, record: JobRecord, run: RunDirectory) -> "_Submitted":
        found: dict[str, Any] = record.backend_ref
        if RESOURCE not in found:
            plan = run.plan_document()
            found = plan.get("job", {}).get("platform", {}).get("options", {})
        cluster = Cluster.connect(found.get(KUBECONFIG), found.get(CONTEXT), found.get(NAMESPACE))
        return cls(record.id, cluster, str(found.get(RESOURCE, "job")), found.get(UID), run)

    @property
    def kind(self) -> str:
        return KINDS[self.resource]

    @property
    def container(self) -> str:
        return TRAINJOB_CONTAINER if self.resource == "trainjob" else CONTAINER

    @property
    def is_visible(self) -> bool:
        """Whether the run directory that the pods write is the one that is seen from here."""
        return self.run.log_file.is_file()

    def look(self) -> View | None:
        """Return the job as the server shows it; None when it has no such job (any more)."""
        return _look(self.cluster, self.kind, self.id, self.resource, self.uid)

    def pods(self) -> list[Pod]:
        return _pods(self.cluster, self.id, self.resource)

    def has_started(self) -> bool:
        return any(pod.index == 0 and pod.phase != "Pending" for pod in self.pods())

    def progress(self, view: View) -> dict[str, Any]:
        """Return the newest line of status.jsonl, from the run directory or from pod 0."""
        if self.is_visible or not view.newest:
            return self.run.last_status()
        first = view.newest[0]
        culprit = view.culprit or first
        if status := culprit.last_status or first.last_status:
            return status
        if first.phase == "Pending":
            return {}
        try:
            log = self.cluster.log(first.name, self.container, tailLines=str(STATUS_LINES))
            return pods.status_line(log)
        except (NotFoundError, BlockedError):  # the pod is gone, or its container is being made
            return {}

    def is_gone(self, within_seconds: float) -> bool:
        deadline = time.monotonic() + within_seconds
        while self.look() is not None or self.pods():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def _look(cluster: Cluster, kind: str, name: str, resource: str, uid: str | None = None) -> View | None:
    try:
        owner = cluster.get(kind, name)
    except NotFoundError:
        return None
    if uid is not None and owner["metadata"]["uid"] != uid:
        return None  # another job, made by hand
    found = _pods(cluster, name, resource)
    view = View(owner, tuple(found))
    about = name if view.lacks_pods else view.prepared
    if about is None:
        return view
    with suppress(AccountError, RefusedError):  # not everybody may read events
        events = cluster.items("Event", fieldSelector=f"involvedObject.name={about}")
        return replace(view, events=tuple(events))
    return view


def _pods(cluster: Cluster, name: str, resource: str) -> list[Pod]:
    selector = kubernetes_render.pod_selector(name, resource)
    return [Pod(found) for found in cluster.items("Pod", labelSelector=selector)]


def _dry_run(cluster: Cluster, manifests: list[Object], pod: Object) -> None:
    """Have the server check everything without creating it."""
    name = manifests[-1]["metadata"]["name"]
    try:
        for manifest in manifests:
            cluster.create(manifest, dry_run=True)
    except TakenError as error:
        message = f"The cluster has an object named {name} already: {error}"
        fix = f"Plan the request again for another name, or delete that one: kubectl delete job {name}"
        raise ConflictError.of("job_name_taken", message, fix, path=name) from None
    except (LostAnswerError, NotFoundError) as error:
        message = f"The API server gave no answer to a dry run: {error}"
        raise BackendError.of("kubernetes_no_answer", message, "Run the plan again.", path=name) from None
    kubernetes_probe.dry_run_pod(cluster, pod)


def _create_owner(cluster: Cluster, owner: Object) -> str:
    """Create the job and return its uid. A lost answer is looked up by the name, and the job is never sent twice."""
    name, kind = owner["metadata"]["name"], owner["kind"]
    try:
        created: Object | None = cluster.create(owner)
        said = ""
    except TakenError as error:
        message = f"The cluster has a job named {name} already: {error}"
        fix = f"Plan the request again for another name, or delete that one: kubectl delete {kind.lower()} {name}"
        raise ConflictError.of("job_name_taken", message, fix, path=name) from None
    except LostAnswerError as error:
        created, said = _reconcile(cluster, kind, name), str(error)
    if created is None:
        message = f"The API server gave no answer, and it shows no job named {name}. {said}".rstrip()
        fix = f"Plan the request again. If it arrived after all, it is suspended: kubectl delete job {name}"
        raise BackendError.of("kubernetes_submit_lost", message, fix, path=name)
    return str(created["metadata"]["uid"])


def _reconcile(cluster: Cluster, kind: str, name: str) -> Object | None:
    deadline = time.monotonic() + RECONCILE_SECONDS
    while True:
        with suppress(NotFoundError, BackendError):
            return cluster.get(kind, name)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)


def _owned(manifest: Object, owner: Object, uid: str) -> Object:
    """Return a manifest that the server deletes together with its owner."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def _release(cluster: Cluster, owner: Object) -> None:
    """Let the job start; asked again while the server does not answer, which changes nothing."""
    deadline = time.monotonic() + RECONCILE_SECONDS
    while True:
        try:
            cluster.release(owner["kind"], owner["metadata"]["name"])
            return
        except (AccountError, RefusedError):
            raise
        except BackendError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(POLL_SECONDS)


def _await_start(cluster: Cluster, kind: str, name: str, resource: str) -> None:
    """Watch the pods begin. Raises BlockedError when they never will."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            view = _look(cluster, kind, name, resource)
        except BackendError:
            return  # it was sent; status reports the rest
        if view is None or (view.is_suspended and _has_queue(view)):
            return
        if (problem := view.problem(cluster.namespace)) is not None:
            raise BlockedError([problem])
        if view.condition("Complete", "Failed") or (not view.lacks_pods and (view.is_running or _is_queued(view))):
            return
        time.sleep(POLL_SECONDS)


def _has_queue(view: View) -> bool:
    return kubernetes_render.QUEUE_LABEL in (view.owner["metadata"].get("labels") or {})


def _is_queued(view: View) -> bool:
    """Return whether all pods are there, and some wait for a node: they may wait for long."""
    return any("Unschedulable" in pod.waits_for for pod in view.newest)


def _undo_creation(cluster: Cluster, owner: Object, uid: str, error: Exception) -> tuple[TaoSkillsError, bool]:
    """Delete the objects of a job that cannot start; return the error to raise, and whether they are deleted."""
    kind, name = owner["kind"], owner["metadata"]["name"]
    left = ""
    try:
        cluster.delete(kind, name, uid)
    except TaoSkillsError as failure:
        left = f" Its objects could not be deleted ({failure}): kubectl delete {kind.lower()} {name}"
    if isinstance(error, TaoSkillsError):
        first = error.problems[0]
        problem = Problem(first.code, f"{first.message}{left}", first.fix, first.path)
        return type(error)([problem], error.exit_code), not left
    message = f"Job {name} was not started: {error}.{left}"
    return BackendError.of("kubernetes_submit_lost", message, "Run the plan again.", path=name), not left


def _forgotten(record: JobRecord, run: RunDirectory) -> JobStatus:
    """Return the state of a job that the cluster does not list, from what the job left."""
    progress, exit_code = run.last_status(), run.exit_code()
    if exit_code is not None:
        return run_files.ended(record, exit_code, progress, was_cancelled=run.cancel_file.exists())
    return JobStatus(record.id, State.UNKNOWN, "The cluster does not list it.", progress=progress)


PLATFORM = Kubernetes()
