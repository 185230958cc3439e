"""What the fake API server refuses: fields that a server does not know, and values that it does not take."""

import re

import kubernetes_validate

VERSION = "1.37"
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
PATCH_FIELDS = {
    "serviceAccountName", "volumes", "initContainers", "containers", "imagePullSecrets", "securityContext",
    "nodeSelector", "affinity", "tolerations", "schedulingGates",
}  # fmt: skip


class RefusedError(Exception):
    """An answer other than 2xx."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = code, reason


def validate(kind, body):
    """Refuse an object with fields that a server does not know, or values that it does not take."""
    if kind == "TrainJob":
        return validate_train_job(body)
    try:
        kubernetes_validate.validate(body, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.absolute_path))
        raise RefusedError(400, "BadRequest", f"strict decoding error: {path}: {error.message[:200]}") from None
    except kubernetes_validate.SchemaNotFoundError:
        raise RefusedError(400, "BadRequest", f"no kind {kind} is registered") from None
    invalid = [*names(kind, body), *pods(kind, body)]
    if invalid:
        raise RefusedError(422, "Invalid", f'{kind} "{body["metadata"]["name"]}" is invalid: {"; ".join(invalid)}')
    return None


def names(kind, body):
    metadata = body["metadata"]
    form = LABEL if kind in ("Service", "Job", "TrainJob") else SUBDOMAIN
    if not form.fullmatch(metadata["name"]) or len(metadata["name"]) > 63:
        yield f"metadata.name: Invalid value: {metadata['name']}"
    for key, value in (metadata.get("labels") or {}).items():
        if not LABEL_VALUE.fullmatch(value):
            yield f"metadata.labels: Invalid value: {key}={value}"
    if kind == "ConfigMap":
        if wrong := [key for key in body.get("data", {}) if not re.fullmatch(r"[-._a-zA-Z0-9]+", key)]:
            yield f"data[{wrong[0]}]: Invalid value"
        if sum(len(text.encode()) for text in body.get("data", {}).values()) > 2**20:
            yield "data: Too long: must have at most 1048576 bytes"


def pods(kind, body):
    """Yield what is wrong with a pod, or with a Job's template."""
    if kind not in ("Job", "Pod"):
        return
    spec = body["spec"] if kind == "Pod" else body["spec"]["template"]["spec"]
    where = "spec" if kind == "Pod" else "spec.template.spec"
    if kind == "Job" and spec.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f"{where}.restartPolicy: Required value: valid values: OnFailure, Never"
    if kind == "Job" and "podFailurePolicy" in body["spec"] and spec.get("restartPolicy") != "Never":
        yield f"{where}.restartPolicy: Invalid value: only Never is supported when podFailurePolicy is specified"
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for container in spec["containers"]:
        if not container.get("image"):
            yield f"{where}.containers[0].image: Required value"
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"{where}.containers[0].volumeMounts.name: Not found: {mount['name']}"
        for variable in container.get("env", ()):
            if "value" in variable and "valueFrom" in variable:
                yield f"{where}.containers[0].env: Invalid value: {variable['name']}"


def validate_train_job(body):
    """Check the fields of a TrainJob by its types (Kubeflow Trainer 2.2), and its container as a pod's."""
    unknown = only(body, "", {"apiVersion", "kind", "metadata", "spec"})
    spec = body["spec"]
    unknown += only(spec, "spec", {"suspend", "runtimeRef", "trainer", "runtimePatches", "activeDeadlineSeconds"})
    trainer = spec["trainer"]
    fields = {"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"}
    unknown += only(trainer, "spec.trainer", fields)
    patched = {}
    for patch in spec.get("runtimePatches", ()):
        unknown += only(patch, "spec.runtimePatches", {"manager", "trainingRuntimeSpec"})
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]:
            patched = job["template"]["spec"]["template"]["spec"]
            unknown += only(patched, "pod", PATCH_FIELDS)
            for container in patched.get("containers", ()):
                unknown += only(container, "container", {"name", "env", "volumeMounts", "securityContext"})
    if unknown:
        raise RefusedError(400, "BadRequest", f"strict decoding error: unknown field {unknown[0]}")
    container = {key: trainer[key] for key in ("image", "command", "env") if key in trainer}
    mounts = {key: value for found in patched.get("containers", ()) for key, value in found.items()}
    container |= {**mounts, "resources": trainer.get("resourcesPerNode", {})}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": body["metadata"],
        "spec": {**patched, "containers": [container]},
    }
    validate("Pod", pod)


def only(value, where, known):
    return [f"{where}.{key}" for key in value if key not in known]
