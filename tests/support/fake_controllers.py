"""The controllers of the fake API server: Jobs make pods, pods run, and what is owned goes with its owner.

They follow what Kubernetes documents of Indexed Jobs: pod failure policies, backoff limits, deadlines, suspension.
"""

import copy
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

INDEX = "batch.kubernetes.io/job-completion-index"
ADDRESS_OF_NOTHING = "0.0.0.0"
BACKOFF_SECONDS = 0.2  # instead of ten


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Controllers(threading.Thread):
    """All loops of a control plane in one thread."""

    def __init__(self, fake, runner):
        super().__init__(daemon=True)
        self.fake, self.runner = fake, runner
        self.containers = {}  # pod uid: Container
        self.jobs = {}  # job uid: JobState
        self.is_stopped = False
        self.turned = threading.Condition()

    def run(self):
        while not self.is_stopped:
            with self.fake.lock:
                self.turn()
            with self.turned:
                self.turned.notify_all()
            time.sleep(0.03)

    def stop(self):
        self.is_stopped = True
        self.join(timeout=10)
        for container in self.containers.values():
            if container.exit_code is None:
                container.running.kill()
        self.runner.close()

    def wait(self):
        with self.turned:
            self.turned.wait(timeout=1)

    def turn(self):
        for train_job in self.fake.all("TrainJob"):
            self.train_job(train_job)
        for job in self.fake.all("Job"):
            self.job(job)
        for pod in self.fake.all("Pod"):
            self.pod(pod)
        for kind in ("Job", "TrainJob"):
            for owner in self.fake.all(kind):
                if "deletionTimestamp" in owner["metadata"] and not self.owned_by(owner, "Pod", "Job"):
                    self.forget(kind, owner)

    # --- deletion ---

    def delete(self, kind, namespace, name):
        """Delete an object as a client asks: what blocks its owner goes first."""
        with self.fake.lock:
            self._mark_deleted(kind, namespace, name)

    def _mark_deleted(self, kind, namespace, name):
        found = self.fake.objects[kind, namespace, name]
        if kind == "Pod":
            self.end(found, disruption=None)
        elif kind in ("Job", "TrainJob"):
            found["metadata"].setdefault("deletionTimestamp", now())
            for child in self.owned_by(found, "Pod", "Job", "Service", "ConfigMap"):
                self._mark_deleted(child["kind"], namespace, child["metadata"]["name"])
        else:
            self.fake.remove(kind, name, namespace)

    def forget(self, kind, owner):
        metadata = owner["metadata"]
        for child in self.owned_by(owner, "Service", "ConfigMap"):
            self.fake.remove(child["kind"], child["metadata"]["name"], metadata["namespace"])
        self.fake.remove(kind, metadata["name"], metadata["namespace"])

    def owned_by(self, owner, *kinds):
        uid = owner["metadata"]["uid"]
        found = [child for kind in kinds for child in self.fake.all(kind, owner["metadata"]["namespace"])]
        return [
            child
            for child in found
            if any(known["uid"] == uid for known in child["metadata"].get("ownerReferences", ()))
        ]

    def end(self, pod, *, disruption, grace_seconds=None):
        """Take a pod away: SIGTERM, and SIGKILL after its grace period."""
        if "deletionTimestamp" in pod["metadata"]:
            return
        pod["metadata"]["deletionTimestamp"] = now()
        if disruption:
            pod["status"].setdefault("conditions", []).append(
                {"type": "DisruptionTarget", "status": "True", "reason": disruption, "message": f"{disruption}: test"}
            )
        container = self.containers.get(pod["metadata"]["uid"])
        if container is None:
            pod["status"]["phase"] = "Failed"
            return
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace_seconds is None else grace_seconds
        container.killed_at = time.monotonic() + grace
        if grace:
            container.running.terminate()

    # --- Jobs ---

    def job(self, job):
        state = self.jobs.setdefault(job["metadata"]["uid"], JobState())
        status = job.setdefault("status", {})
        if is_over(status) or "deletionTimestamp" in job["metadata"]:
            return
        if job["spec"].get("suspend"):
            set_condition(status, "Suspended", "JobSuspended")
            return
        status["conditions"] = [found for found in status.get("conditions", ()) if found["type"] != "Suspended"]
        status.setdefault("startTime", now())
        state.started_at = state.started_at or time.monotonic()
        pods = self.owned_by(job, "Pod")
        self.account(job, state, pods)
        deadline = job["spec"].get("activeDeadlineSeconds")
        if deadline is not None and time.monotonic() - state.started_at > deadline:
            state.failure = state.failure or ("DeadlineExceeded", "Job was active longer than specified deadline")
        live = [pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]
        if state.failure is not None:
            for pod in live:
                self.end(pod, disruption=None)
            if not live:
                set_condition(status, "Failed", *state.failure)
        elif len(state.succeeded) == job["spec"]["completions"]:
            set_condition(status, "Complete", "CompletionsReached")
            status["completionTime"] = now()
        else:
            self.fill(job, state, live)
        ready = sum(pod["status"]["phase"] == "Running" for pod in live)
        status |= {"active": len(live), "ready": ready, "succeeded": len(state.succeeded), "failed": state.failed}

    def account(self, job, state, pods):
        """Count the pods that ended since the last turn."""
        for pod in pods:
            uid, phase = pod["metadata"]["uid"], pod["status"]["phase"]
            if uid in state.accounted or phase not in ("Succeeded", "Failed"):
                continue
            state.accounted.add(uid)
            if phase == "Succeeded":
                state.succeeded.add(index_of(pod))
            else:
                self.account_failure(job, state, pod)
            if "deletionTimestamp" in pod["metadata"]:
                self.fake.remove("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])

    @staticmethod
    def account_failure(job, state, pod):
        action = failure_action(job["spec"].get("podFailurePolicy"), pod)
        state.retry_at = time.monotonic() + BACKOFF_SECONDS
        state.failed += 1
        if action == "FailJob":
            message = f"Container of pod {pod['metadata']['name']} matched a FailJob rule"
            state.failure = state.failure or ("PodFailurePolicy", message)
        if action == "Count":
            state.counted += 1
            if state.counted > job["spec"].get("backoffLimit", 6):
                message = "Job has reached the specified backoff limit"
                state.failure = state.failure or ("BackoffLimitExceeded", message)

    def fill(self, job, state, live):
        """Make the pods that are missing."""
        if time.monotonic() < state.retry_at:
            return
        indexes = {index_of(pod) for pod in live} | state.succeeded
        for index in sorted(set(range(job["spec"]["completions"])) - indexes):
            pod = self.pod_of(job, index)
            try:
                self.fake.admit(pod, job["metadata"]["namespace"])
            except Exception as error:  # noqa: BLE001 - what a controller tells as an event
                self.event(job, "FailedCreate", f"Error creating: {error}")
                return
            metadata = pod["metadata"]
            self.fake.objects["Pod", metadata["namespace"], metadata["name"]] = pod

    @staticmethod
    def pod_of(job, index):
        template, metadata = copy.deepcopy(job["spec"]["template"]), job["metadata"]
        labels = {
            **template["metadata"].get("labels", {}),
            "batch.kubernetes.io/job-name": metadata["name"],
            INDEX: str(index),
        }
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"],
                 "controller": True, "blockOwnerDeletion": True}  # fmt: skip
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-{index}-{uuid.uuid4().hex[:5]}",
                "namespace": metadata["namespace"],
                "uid": str(uuid.uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
                "labels": labels,
                "annotations": {INDEX: str(index)},
                "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "hostname": f"{metadata['name']}-{index}"},
            "status": {"phase": "Pending"},
        }

    def event(self, job, reason, message):
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        self.fake.put(
            "Event", f"{name}.{reason.lower()}", namespace, reason=reason, message=message,
            involvedObject={"kind": "Job", "name": name}, type="Warning",
        )  # fmt: skip

    def train_job(self, train_job):
        """Make the Job of a TrainJob, which its runtime and a JobSet make on a cluster."""
        metadata, spec = train_job["metadata"], train_job["spec"]
        name, namespace = f"{metadata['name']}-node-0", metadata["namespace"]
        status = train_job.setdefault("status", {})
        if spec.get("suspend"):
            set_condition(status, "Suspended", "Suspended")
            return
        status["conditions"] = [found for found in status.get("conditions", ()) if found["type"] != "Suspended"]
        child = self.fake.find("Job", name, namespace)
        if child is not None:
            for condition in child.get("status", {}).get("conditions", ()):
                if condition["type"] in ("Complete", "Failed"):
                    set_condition(status, condition["type"], condition.get("reason", ""), condition.get("message", ""))
            return
        if "deletionTimestamp" in metadata or is_over(status):
            return
        trainer = spec["trainer"]
        patch = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
        pod = copy.deepcopy(patch["template"]["spec"]["template"]["spec"])
        container = {**pod.pop("containers")[0], **{key: trainer[key] for key in ("image", "command", "env")}}
        container["resources"] = trainer["resourcesPerNode"]
        pod |= {"containers": [container], "restartPolicy": "Never", "subdomain": metadata["name"]}
        labels = {"jobset.sigs.k8s.io/jobset-name": metadata["name"]}
        owner = {"apiVersion": train_job["apiVersion"], "kind": "TrainJob", "name": metadata["name"],
                 "uid": metadata["uid"]}  # fmt: skip
        nodes = trainer["numNodes"]
        self.fake.put(
            "Job", name, namespace, apiVersion="batch/v1", metadata={"ownerReferences": [owner]},
            spec={
                "completions": nodes, "parallelism": nodes, "completionMode": "Indexed", "backoffLimit": 0,
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        )  # fmt: skip

    # --- pods ---

    def pod(self, pod):
        uid, status = pod["metadata"]["uid"], pod["status"]
        container = self.containers.get(uid)
        if container is None and status["phase"] == "Pending":
            self.try_start(pod)
        elif container is not None and status["phase"] == "Running":
            self.look_after(pod, container)
        if "deletionTimestamp" in pod["metadata"] and status["phase"] in ("Succeeded", "Failed"):
            owners = [known["uid"] for known in pod["metadata"].get("ownerReferences", ())]
            live = [job for job in self.fake.all("Job") if job["metadata"]["uid"] in owners]
            if not any(not is_over(job["status"]) and "deletionTimestamp" not in job["metadata"] for job in live):
                self.fake.remove("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])

    def try_start(self, pod):
        spec, status, namespace = pod["spec"], pod["status"], pod["metadata"]["namespace"]
        container = spec["containers"][0]
        if (why := self.unschedulable(spec)) is not None:
            status["conditions"] = [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
            ]
            return
        status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
        if container["image"] in self.fake.missing_images:
            waits(status, container, "ErrImagePull", f"failed to pull {container['image']}: not found")
            return
        started = Pod(self.fake, pod)
        try:
            started.require_all(namespace)
        except MissingError as error:
            waits(status, container, error.reason, str(error))
            return
        self.containers[pod["metadata"]["uid"]] = Container(self.runner.start(started))
        status |= {"phase": "Running", "startTime": now(), "podIP": ADDRESS_OF_NOTHING}
        status["containerStatuses"] = [container_status(container, {"running": {"startedAt": now()}}, ready=True)]

    def unschedulable(self, spec):
        nodes = self.fake.all("Node")
        if not nodes:
            return None  # a test that has no nodes has enough of them
        gpus = int(spec["containers"][0].get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))
        if any(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) >= gpus for node in nodes):
            return None
        return f"0/{len(nodes)} nodes are available: {len(nodes)} Insufficient nvidia.com/gpu."

    def look_after(self, pod, container):
        if container.killed_at is not None and time.monotonic() >= container.killed_at:
            container.running.kill()
            container.killed_at = None
        if container.exit_code is None:
            return
        container.running.kill()  # what is left of it ends with its first process
        code = container.exit_code
        reason = "OOMKilled" if container.is_out_of_memory else "Completed" if code == 0 else "Error"
        ended = {
            "exitCode": code, "reason": reason, "finishedAt": datetime.now(UTC).isoformat(),
            "message": container.running.message,
        }  # fmt: skip
        pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        pod["status"]["containerStatuses"] = [container_status(pod["spec"]["containers"][0], {"terminated": ended})]

    def log(self, pod):
        container = self.containers.get(pod["metadata"]["uid"])
        return None if container is None else container.running.lines

    def is_over(self, pod):
        container = self.containers.get(pod["metadata"]["uid"])
        return container is None or container.exit_code is not None

    # --- what tests do to pods ---

    def evict(self, name, *, grace_seconds=None, reason="EvictionByEvictionAPI"):
        """Take a pod away as a preemption does, or with no grace as a lost node does."""
        with self.fake.lock:
            pod = self.fake.find("Pod", name)
            self.end(pod, disruption=reason, grace_seconds=grace_seconds)

    def run_out_of_memory(self, name):
        with self.fake.lock:
            container = self.containers[self.fake.find("Pod", name)["metadata"]["uid"]]
            container.is_out_of_memory = True
            container.killed_at = 0.0


class JobState:
    """What the controller remembers of a Job."""

    def __init__(self):
        self.accounted, self.succeeded = set(), set()
        self.failed = self.counted = 0
        self.failure = None
        self.retry_at = self.started_at = 0.0


class Container:
    def __init__(self, running):
        self.running = running
        self.killed_at = None
        self.is_out_of_memory = False

    @property
    def exit_code(self):
        return self.running.exit_code


class MissingError(Exception):
    """Something that a pod needs is not there."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


class Pod:
    """A pod as a runner starts it."""

    def __init__(self, fake, pod):
        self.fake, self.object = fake, pod
        self.name, self.uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self.spec = pod["spec"]
        self.container = self.spec["containers"][0]
        self.command = self.container["command"]
        self.host_name = self.spec["hostname"]

    @property
    def host_names(self):
        """Names under which other pods find it; of the process runner all are this machine."""
        subdomain = self.spec.get("subdomain")
        base = self.host_name.rpartition("-")[0]
        return [f"{base}-{index_of(self.object)}.{subdomain}", f"{base}-0.{subdomain}"] if subdomain else []

    @property
    def mount_path(self):
        return next(mount["mountPath"] for mount in self.container["volumeMounts"] if mount["name"] == "launch")

    def require_all(self, namespace):
        """Raise for a ConfigMap, claim or Secret that is missing."""
        for volume in self.spec.get("volumes", ()):
            wanted = [
                ("ConfigMap", (volume.get("configMap") or {}).get("name")),
                ("PersistentVolumeClaim", (volume.get("persistentVolumeClaim") or {}).get("claimName")),
            ]
            for kind, name in wanted:
                if name and self.fake.find(kind, name, namespace) is None:
                    raise MissingError("ContainerCreating", f'{kind.lower()} "{name}" not found')
        for variable in self.container.get("env", ()):
            wanted = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if wanted and not wanted.get("optional"):
                secret = self.fake.find("Secret", wanted["name"], namespace)
                if secret is None or wanted["key"] not in secret["data"]:
                    message = f"couldn't find key {wanted['key']} in Secret {namespace}/{wanted['name']}"
                    raise MissingError("CreateContainerConfigError", message)

    def write_volumes(self, folder):
        """Write what the ConfigMap holds where the runner mounts it; return the script."""
        namespace = self.object["metadata"]["namespace"]
        for volume in self.spec["volumes"]:
            if source := volume.get("configMap"):
                data = self.fake.find("ConfigMap", source["name"], namespace)["data"]
                for item in source["items"]:
                    path = folder / item["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(data[item["key"]])
        return folder / Path(self.command[-1]).name

    def environment(self, address):
        import base64

        fields = {"metadata.uid": self.uid, "status.podIP": address}
        found = {"JOB_COMPLETION_INDEX": str(index_of(self.object))}
        for variable in self.container.get("env", ()):
            source = variable.get("valueFrom")
            if source is None:
                found[variable["name"]] = variable["value"]
            elif "fieldRef" in source:
                found[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
            else:
                with suppress(AttributeError, KeyError, TypeError):
                    wanted = source["secretKeyRef"]
                    secret = self.fake.find("Secret", wanted["name"], self.object["metadata"]["namespace"])
                    found[variable["name"]] = base64.b64decode(secret["data"][wanted["key"]]).decode()
        return found


def index_of(pod):
    return int(pod["metadata"]["annotations"][INDEX])


def is_over(status):
    return any(found["type"] in ("Complete", "Failed") for found in status.get("conditions", ()))


def set_condition(status, kind, reason, message=""):
    conditions = [found for found in status.get("conditions", ()) if found["type"] != kind]
    condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}
    status["conditions"] = [*conditions, condition]


def container_status(container, state, *, ready=False):
    return {"name": container["name"], "image": container["image"], "ready": ready, "restartCount": 0, "state": state}


def waits(status, container, reason, message):
    state = {"waiting": {"reason": reason, "message": message}}
    status["containerStatuses"] = [container_status(container, state)]


def failure_action(policy, pod):
    """Return what a Job's policy says of a failed pod."""
    conditions = {found["type"]: found["status"] for found in pod["status"].get("conditions", ())}
    statuses = pod["status"].get("containerStatuses") or [{}]
    code = (statuses[0].get("state", {}).get("terminated") or {}).get("exitCode")
    for rule in (policy or {}).get("rules", ()):
        wanted = rule.get("onPodConditions")
        if wanted and any(conditions.get(found["type"]) == found["status"] for found in wanted):
            return rule["action"]
        codes = rule.get("onExitCodes")
        if codes and code:
            is_listed = code in codes["values"]
            if is_listed == (codes["operator"] == "In"):
                return rule["action"]
    return "Count"
