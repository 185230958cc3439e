"""Renders a sealed plan as manifests: a ConfigMap, a headless Service and a Job, or a TrainJob. Pure."""

import shlex
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import EXIT_INTERRUPTED, EXIT_PEER_LOST, Job, Plan
from tao_skill_bank.core import nested, yaml12
from tao_skill_bank.platforms import script as job_script
from tao_skill_bank.platforms import torchrun
from tao_skill_bank.platforms.kubernetes.options import Options, quantity
from tao_skill_bank.platforms.torchrun import Rendezvous
from tao_skill_bank.spec import config_files

Manifest = dict[str, Any]

MANIFEST_FILE, SCRIPT_FILE = "manifest.yaml", "launch.sh"
RESTART_SUFFIX = ".restart"
LAUNCH_PATH = "/etc/tao"  # where the pods find the ConfigMap
CONTAINER = "trainer"
TRAINJOB_CONTAINER = TRAINJOB_REPLICAS = "node"  # names in the runtimes of Kubeflow Trainer
TRAINER_API = "trainer.kubeflow.org/v1alpha1"
INSTANCE_LABEL = "app.kubernetes.io/instance"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
FIRST_PORT, NUM_PORTS = 20000, 12000  # below what Linux gives to outgoing connections
GPU_TAINT = "nvidia.com/gpu"

SCRIPT = """\
#!/usr/bin/env bash
# Job {job_id}: rendered by tao-skill-bank for platform kubernetes. Every pod runs it; output goes to logs/job.log, too.
set -euo pipefail
mkdir -p {logs}
cd {results_dir}

{environment}
exec {pod}
"""


def files(plan: Plan, options: Options) -> dict[str, str]:
    """Return the manifests, and the script and the config of a restart that they hold."""
    scripts = _scripts(plan, options)
    manifests = objects(plan.job, options, {**scripts, plan.job.config_file: plan.files[plan.job.config_file]})
    return {**scripts, MANIFEST_FILE: yaml12.render_all(manifests)}


def objects(job: Job, options: Options, texts: dict[str, str]) -> list[Manifest]:
    """Return every object of a job, the owner of the others last; `texts` are the files that pods read."""
    found = [_config_map(job, options, texts)]
    if options.resource == "trainjob":
        return [*found, _train_job(job, options, list(texts))]
    if meets(job):
        found.append(_service(job, options))
    return [*found, _job(job, options, list(texts))]


def pod(job: Job, options: Options) -> Manifest:
    """Return one pod of a job, for a dry run: that of the Job does not check its pods."""
    template = _template(job, options, [])
    labels = template["metadata"]["labels"]
    metadata = {"generateName": f"{job.id}-0-", **_namespace(options), "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def meets(job: Job) -> bool:
    """Return whether the pods of a job connect to each other."""
    return job.distributed and job.resources.nodes > 1


def pod_selector(job_id: str, resource: str) -> str:
    """Return the labels that a job's pods have."""
    label = "jobset.sigs.k8s.io/jobset-name" if resource == "trainjob" else INSTANCE_LABEL
    return f"{label}={job_id}"


def _scripts(plan: Plan, options: Options) -> dict[str, str]:
    job = plan.job
    scripts = {}
    if restart_file := _restart_file(job, options):
        assert job.resume_key is not None
        scripts[restart_file] = config_files.text(restart_file, nested.with_value(job.config, job.resume_key, True))
    script = SCRIPT.format(
        job_id=job.id,
        logs=shlex.quote(f"{job.results_dir}/logs"),
        results_dir=shlex.quote(job.results_dir),
        environment=job_script.environment(plan),
        pod=" \\\n  ".join(_pod_words(job, options, restart_file)),
    )
    return {SCRIPT_FILE: script, **scripts}


def _pod_words(job: Job, options: Options, restart_file: str | None) -> list[str]:
    """Return the lines of the command that every pod runs."""
    words = [
        f"{shlex.quote(options.python)} -m tao_skill_bank.training.pod",
        f"--job {job.id} --nodes {job.resources.nodes} --config {LAUNCH_PATH}/{job.config_file}",
    ]
    if restart_file:
        words.append(f"--restart-config {LAUNCH_PATH}/{restart_file}")
    if meets(job):
        words.append(f"--host {_first_host(job, options)} --port {port(job.id)}")
    words += [f"--fetch {shlex.join(pair)}" for pair in job.fetches]
    if job.fetches and all(options.holds(folder) for _, folder in job.fetches):
        words.append("--fetch-once")
    if job.results_uri is not None:
        upload = shlex.join((options.python, "-P", "-m", "tao_skill_bank.staging.upload", job.results_dir))
        words += [f"--beside {shlex.quote(upload)}", f"--afterwards {shlex.quote(f'{upload} --last')}"]
    rendezvous = Rendezvous("$TAO_RENDEZVOUS", "$JOB_COMPLETION_INDEX", "static") if meets(job) else None
    *command, _ = torchrun.command(job, python=options.python, rendezvous=rendezvous)  # ends with the config
    return [*words, shlex.quote(f"exec {job_script.line_of((*command, '$TAO_CONFIG'))}")]


def port(job_id: str) -> int:
    return FIRST_PORT + int(job_id.rpartition("-")[2], 16) % NUM_PORTS


def _first_host(job: Job, options: Options) -> str:
    if options.resource == "trainjob":
        return f"{job.id}-{TRAINJOB_REPLICAS}-0-0.{job.id}"
    return f"{job.id}-0.{job.id}"


def _restart_file(job: Job, options: Options) -> str | None:
    if job.resume_key is None or not options.restart:
        return None
    path = Path(job.config_file)
    return str(path.with_name(f"{path.stem}{RESTART_SUFFIX}{path.suffix}"))


def _config_map(job: Job, options: Options, texts: dict[str, str]) -> Manifest:
    data = {Path(name).name: text for name, text in texts.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job, options), "data": data}


def _service(job: Job, options: Options) -> Manifest:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,  # pods look for each other before they are ready
        "selector": {INSTANCE_LABEL: job.id},
        "ports": [{"name": "rendezvous", "port": port(job.id)}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(job, options), "spec": spec}


def _job(job: Job, options: Options, names: list[str]) -> Manifest:
    nodes = job.resources.nodes
    interrupted = [EXIT_INTERRUPTED, EXIT_PEER_LOST]
    rules = [
        {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "NotIn", "values": interrupted},
        },
    ]
    spec: Manifest = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": options.retries * nodes if options.restart else 0,  # every pod counts, and all start again
        "podReplacementPolicy": "Failed",
        "suspend": True,  # until all that its pods read exists, or its queue admits it
        "podFailurePolicy": {"rules": rules},
        "ttlSecondsAfterFinished": options.ttl_seconds,
    }
    if options.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = options.deadline_seconds
    spec["template"] = _template(job, options, names)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(job, options, is_owner=True), "spec": spec}


def _template(job: Job, options: Options, names: list[str]) -> Manifest:
    container = {
        "name": CONTAINER,
        "image": job.image or "",
        "command": ["bash", f"{LAUNCH_PATH}/{SCRIPT_FILE}"],
        "env": _environment(job, options),
        "resources": _resources(job, options),
        "volumeMounts": _mounts(options),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _container_security(options),
    }
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": options.grace_seconds,  # until SIGKILL; a training saves itself
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    if options.resource == "job" and meets(job):
        spec["subdomain"] = job.id
    if options.priority_class is not None:
        spec["priorityClassName"] = options.priority_class
    spec |= _placement(job, options)
    spec |= {"containers": [container], "volumes": _volumes(job, options, names)}
    return {"metadata": {"labels": _labels(job)}, "spec": spec}


def _train_job(job: Job, options: Options, names: list[str]) -> Manifest:
    placement = _placement(job, options)
    patch = {
        **placement,
        "containers": [
            {
                "name": TRAINJOB_CONTAINER,
                "volumeMounts": _mounts(options),
                "securityContext": _container_security(options),
            }
        ],
        "volumes": _volumes(job, options, names),
    }
    replicated = {"name": TRAINJOB_REPLICAS, "template": {"spec": {"template": {"spec": patch}}}}
    spec: Manifest = {
        "suspend": True,
        "runtimeRef": {"name": options.runtime},
        "trainer": {
            "image": job.image or "",
            "command": ["bash", f"{LAUNCH_PATH}/{SCRIPT_FILE}"],
            "numNodes": job.resources.nodes,
            "numProcPerNode": job.resources.processes_per_node,
            "resourcesPerNode": _resources(job, options),
            "env": _environment(job, options),
        },
        "runtimePatches": [
            {
                "manager": "tao-skill-bank.io/runner",
                "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
            }
        ],
    }
    if options.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = options.deadline_seconds
    return {
        "apiVersion": TRAINER_API,
        "kind": "TrainJob",
        "metadata": _metadata(job, options, is_owner=True),
        "spec": spec,
    }


def _labels(job: Job) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": job.network_arch,
        INSTANCE_LABEL: job.id,
        "app.kubernetes.io/component": job.action,
        "app.kubernetes.io/managed-by": "tao-skill-bank",
    }


def _namespace(options: Options) -> dict[str, str]:
    return {} if options.namespace is None else {"namespace": options.namespace}


def _metadata(job: Job, options: Options, *, is_owner: bool = False) -> Manifest:
    labels = _labels(job)
    if is_owner and options.queue is not None:
        labels[QUEUE_LABEL] = options.queue
    return {"name": job.id, **_namespace(options), "labels": labels}


def _environment(job: Job, options: Options) -> list[Manifest]:
    fields = {"TAO_POD_UID": "metadata.uid", "TAO_POD_IP": "status.podIP"}
    found: list[Manifest] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()
    ]
    if options.mount_path is not None:
        found.append({"name": "TAO_STATE_DIR", "value": f"{options.mount_path}/.tao"})
    if job.resources.device == "cpu" and "OMP_NUM_THREADS" not in dict(options.env):
        cores = int(quantity(options.cpu) // job.resources.processes_per_node)  # of the pod, not of the node
        found.append({"name": "OMP_NUM_THREADS", "value": str(max(1, cores))})
    if options.secret is not None:
        found += [
            {
                "name": known.name,
                "valueFrom": {
                    "secretKeyRef": {"name": options.secret, "key": known.name, "optional": not known.required}
                },
            }
            for known in job.credentials
        ]
    return [*found, *({"name": name, "value": value} for name, value in options.env)]


def _resources(job: Job, options: Options) -> Manifest:
    requests: Manifest = {"cpu": options.cpu, "memory": options.memory}
    limits: Manifest = {}
    if options.cpu_limit is not None:
        limits["cpu"] = options.cpu_limit
    if options.limits_memory:
        limits["memory"] = options.memory
    if job.resources.device == "cuda":
        limits[options.gpu_resource] = str(job.resources.processes_per_node)
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _placement(job: Job, options: Options) -> Manifest:
    """Return the identity of the pods and where they may run."""
    placement: Manifest = {}
    if options.service_account is not None:
        placement["serviceAccountName"] = options.service_account
    if options.image_pull_secret is not None:
        placement["imagePullSecrets"] = [{"name": options.image_pull_secret}]
    if options.node_selector:
        placement["nodeSelector"] = dict(options.node_selector)
    if options.exclude:
        wanted = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(options.exclude)}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
        placement["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    if tolerations := _tolerations(job, options):
        placement["tolerations"] = tolerations
    security: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if options.user is not None:
        user, group = options.user
        security |= {"runAsUser": user, "runAsNonRoot": user != 0}
        if group is not None:
            security |= {"runAsGroup": group, "fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}
    placement["securityContext"] = security
    return placement


def _tolerations(job: Job, options: Options) -> list[Manifest]:
    found: list[Manifest] = []
    if job.resources.device == "cuda" and GPU_TAINT not in [key for key, _, _ in options.tolerations]:
        found.append({"key": GPU_TAINT, "operator": "Exists"})
    for key, value, effect in options.tolerations:
        how = {"operator": "Exists"} if value is None else {"operator": "Equal", "value": value}
        found.append({"key": key, **how, **({"effect": effect} if effect else {})})
    return found


def _container_security(options: Options) -> Manifest:
    """Return what namespaces that restrict their pods ask for; root without capabilities could not write to storage."""
    drop = {} if options.user is None else {"capabilities": {"drop": ["ALL"]}}
    return {"allowPrivilegeEscalation": False, **drop}


def _mounts(options: Options) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "launch", "mountPath": LAUNCH_PATH, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if options.mount_path is not None:
        mounts.append({"name": "storage", "mountPath": options.mount_path})
    return mounts


def _volumes(job: Job, options: Options, names: list[str]) -> list[Manifest]:
    items = [{"key": Path(name).name, "path": name} for name in names]
    config_map = {"name": job.id, **({"items": items} if items else {})}
    volumes: list[Manifest] = [
        {"name": "launch", "configMap": config_map},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": options.shm}},
    ]
    if options.claim is not None:
        volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": options.claim}})
    elif options.host_path is not None:
        volumes.append({"name": "storage", "hostPath": {"path": options.host_path, "type": "Directory"}})
    return volumes
