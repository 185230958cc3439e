"""Whether a cluster would accept a job, and could ever run it: asked without changing anything."""

from collections.abc import Callable, Iterator

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.errors import BackendError, MissingExtraError, TaoSkillsError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.kubernetes import nodes as kubernetes_nodes
from tao_skill_bank.platforms.kubernetes import render
from tao_skill_bank.platforms.kubernetes.client import (
    AccountError,
    Cluster,
    LostAnswerError,
    NotFoundError,
    Object,
    TakenError,
)
from tao_skill_bank.platforms.kubernetes.options import Options
from tao_skill_bank.platforms.kubernetes.refusals import Right, grant

RIGHTS = (
    *(Right(verb, "jobs", "batch") for verb in ("create", "get", "patch", "delete")),
    *(Right("create", resource) for resource in ("configmaps", "services")),
    Right("list", "pods"),
    Right("get", "pods/log"),
)
TRAINER_RIGHTS = tuple(
    Right(verb, "trainjobs", "trainer.kubeflow.org") for verb in ("create", "get", "patch", "delete")
)
SHARED_MODES = {"ReadWriteMany", "ReadOnlyMany"}
FORBIDDEN = "credential_forbidden"


def findings(job: Job, options: Options) -> list[Finding]:
    """Return everything that prevents `job` from running."""
    found = list(_of_request(job, options))
    try:
        cluster = Cluster.connect(options.kubeconfig, options.context, options.namespace)
    except MissingExtraError as error:
        (problem,) = error.problems
        found.append(Finding(problem.code, "warning", problem.message, problem.fix, problem.path, {"blocks_run": True}))
        return found
    except BackendError as error:
        return [*found, *answers.findings(error)]
    return [*found, *_of_cluster(cluster, job, options)]


def dry_run_pod(cluster: Cluster, pod: Object) -> bool:
    """Have the server check a pod as a quota and the rules of its namespace do; return whether the account may ask.

    Raises:
        BlockedError: it would refuse the pod.

    """
    try:
        cluster.create(pod, dry_run=True)
    except AccountError as error:
        if error.problems[0].code != FORBIDDEN:
            raise
        return False
    except LostAnswerError as error:
        message = f"The API server gave no answer to a dry run: {error}"
        raise BackendError.of("kubernetes_no_answer", message, "Run the plan again.", path="platform.name") from None
    return True


def _of_request(job: Job, options: Options) -> Iterator[Finding]:
    """Yield the findings that need no cluster."""
    if not job.image:
        fix = "Name one that holds this package: --image REGISTRY/NAME:TAG"
        yield Finding("no_image", "blocking", "The request names no container image for the pods.", fix, "image")
    if job.command:
        message = f"Image {job.image} brings its own command; starting and restarting pods needs this package."
        fix = "Use ours: --image tao-skill-bank"
        yield Finding("image_without_package", "blocking", message, fix, "image")
    if options.mount_path is None:
        message = "The request names no persistent storage: what the pods write would be lost with them."
        fix = "Name a claim (--option claim=NAME --option claim_path=/PATH) or a folder of the nodes (host_path=/PATH)."
        yield Finding("no_shared_storage", "blocking", message, fix, "platform.options.claim")
        return
    for path in job.workload.paths:
        if path.startswith("/") and not options.holds(path):
            message = f"The pods do not see {path}: their storage is {options.mount_path}."
            fix = f"Copy it below {options.mount_path}, and name it there."
            yield Finding("data_not_shared", "blocking", message, fix, path)
    for uri, folder in job.fetches:
        if not options.holds(folder):
            message = f"Every pod fetches {uri} for itself, at every start: {folder} is not on their storage."
            fix = f"export TAO_STATE_DIR={options.mount_path}/.tao"
            yield Finding("model_not_shared", "warning", message, fix, folder)


def _of_cluster(cluster: Cluster, job: Job, options: Options) -> list[Finding]:
    checks: list[Callable[[Cluster, Job, Options], Iterator[Finding]]] = [
        _rights, _trainer, _manifests, _claim, _secrets, _queue, _nodes
    ]  # fmt: skip
    found: dict[tuple[str, str, str], Finding] = {}
    for check in checks:
        told: list[Finding] = []
        error: TaoSkillsError | None = None
        try:
            told.extend(check(cluster, job, options))
        except TaoSkillsError as failure:
            error = failure
        except (LostAnswerError, NotFoundError, TakenError) as failure:
            message = f"The API server gave no usable answer: {answers.words(str(failure))}"
            error = BackendError.of("kubernetes_no_answer", message, "Ask again later.", path="platform.name")
        told += answers.findings(error) if error else []
        for finding in told:
            details = "" if finding.code == FORBIDDEN else finding.message  # all missing rights are in the first
            found.setdefault((finding.code, finding.path, details), finding)
        if any(finding.severity == "warning" and finding.blocks_run for finding in told):
            break  # it does not answer: no further question is asked
    return list(found.values())


def _rights(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:  # noqa: ARG001 - one signature
    wanted = (*RIGHTS, *(TRAINER_RIGHTS if options.resource == "trainjob" else ()))
    missing = [right for right in wanted if not cluster.may(right.verb, right.resource, right.group, cluster.namespace)]
    if missing:
        names = ", ".join(map(str, missing))
        message = f"The account of the kubeconfig may not do this in namespace {cluster.namespace}: {names}."
        fix = grant(missing, cluster.namespace, "USER")
        yield Finding(FORBIDDEN, "blocking", message, fix, "platform.options.kubeconfig")


def _trainer(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:  # noqa: ARG001
    if options.resource != "trainjob":
        return
    try:
        cluster.call("GET", f"/apis/{render.TRAINER_API}", {})
    except NotFoundError:
        message = f"The cluster has no Kubeflow Trainer: its API {render.TRAINER_API} is missing."
        fix = "Omit --option resource=trainjob, or have Kubeflow Trainer 2.2 or newer installed."
        yield Finding("trainer_missing", "blocking", message, fix, "platform.options.resource")
        return
    try:
        cluster.get("ClusterTrainingRuntime", options.runtime)
    except NotFoundError:
        message = f"The cluster has no ClusterTrainingRuntime {options.runtime}."
        fix = "Set --option runtime to one of: kubectl get clustertrainingruntimes"
        yield Finding("unknown_runtime", "blocking", message, fix, "platform.options.runtime")


def _manifests(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:
    """Have the server check the objects, and a pod as the job would make it."""
    texts = {render.SCRIPT_FILE: "", job.config_file: ""}
    for manifest in render.objects(job, options, texts):
        try:
            cluster.create(manifest, dry_run=True)
        except NotFoundError:
            if manifest["kind"] != "TrainJob":  # which is reported before
                raise
        except TakenError:  # a plan gets a name of its own
            continue
    if not dry_run_pod(cluster, render.pod(job, options)):
        message = "Whether quotas and policies would admit the pods was not checked: the account may not create pods."
        fix = grant([Right("create", "pods")], cluster.namespace, "USER")
        yield Finding("pods_not_checked", "not_checked", message, fix, "platform.options.kubeconfig")


def _claim(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:
    if options.claim is None:
        return
    where = "platform.options.claim"
    try:
        claim = cluster.get("PersistentVolumeClaim", options.claim)
    except NotFoundError:
        message = f"Namespace {cluster.namespace} has no PersistentVolumeClaim {options.claim}."
        fix = f"Set --option claim to one of: kubectl get persistentvolumeclaims --namespace {cluster.namespace}"
        yield Finding("unknown_claim", "blocking", message, fix, where)
        return
    modes = (claim.get("spec") or {}).get("accessModes") or []
    if job.resources.nodes > 1 and modes and not SHARED_MODES & set(modes):
        message = f"Claim {options.claim} is {', '.join(modes)}: pods on {job.resources.nodes} nodes cannot all use it."
        fix = "Name a claim that is ReadWriteMany, or set platform.nodes=1."
        yield Finding("claim_not_shared", "blocking", message, fix, where)
    if claim.get("status", {}).get("phase") == "Lost":
        message = f"Claim {options.claim} has lost its volume."
        yield Finding("claim_lost", "blocking", message, f"See: kubectl describe pvc {options.claim}", where)


def _secrets(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:
    keys = " ".join(f"--from-literal={known.name}=..." for known in job.credentials)
    makes = {
        "secret": f"kubectl create secret generic {options.secret} --namespace {cluster.namespace} {keys}".rstrip(),
        "image_pull_secret": f"kubectl create secret docker-registry {options.image_pull_secret} "
        f"--namespace {cluster.namespace} --docker-server=... --docker-username=... --docker-password=...",
    }
    for name, make in makes.items():
        secret = getattr(options, name)
        if secret is None:
            continue
        try:
            cluster.metadata("Secret", secret)
        except NotFoundError:
            message = f"Namespace {cluster.namespace} has no Secret {secret}."
            yield Finding(
                "credential_secret_missing", "blocking", message, f"Make it: {make}", f"platform.options.{name}"
            )
        except AccountError as error:
            if error.problems[0].code != FORBIDDEN:
                raise
            message = f"Whether Secret {secret} exists was not checked: the account may not ask."
            yield Finding("secret_not_checked", "not_checked", message, f"See that it exists: {make}",
                          f"platform.options.{name}")  # fmt: skip


def _queue(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:  # noqa: ARG001
    if options.queue is None:
        return
    where = "platform.options.queue"
    try:
        group = cluster.call("GET", "/apis/kueue.x-k8s.io", {})
    except NotFoundError:
        message = "The cluster has no Kueue: nothing would ever admit a queued job."
        yield Finding("kueue_missing", "blocking", message, "Omit --option queue.", where)
        return
    version = (group.get("preferredVersion") or {}).get("groupVersion", "kueue.x-k8s.io/v1beta1")
    try:
        cluster.call("GET", f"/apis/{version}/namespaces/{cluster.namespace}/localqueues/{options.queue}", {})
    except NotFoundError:
        message = f"Namespace {cluster.namespace} has no LocalQueue {options.queue}."
        fix = f"Set --option queue to one of: kubectl get localqueues --namespace {cluster.namespace}"
        yield Finding("unknown_queue", "blocking", message, fix, where)


def _nodes(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:
    if options.autoscale:
        return
    try:
        nodes, why = cluster.items("Node"), "the cluster shows none"
    except AccountError as error:
        if error.problems[0].code != FORBIDDEN:
            raise
        nodes, why = [], "the account may not list nodes"
    if not nodes:
        message = f"Whether a node can meet the request was not checked: {why}."
        fix = "A pod that no node can hold stays PENDING, and status reports the scheduler's reason."
        yield Finding("nodes_not_checked", "not_checked", message, fix, "platform.gpus")
        return
    yield from kubernetes_nodes.findings(nodes, job, options)
