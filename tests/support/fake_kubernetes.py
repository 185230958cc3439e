"""A fake Kubernetes API server: real HTTP on loopback for the real client, with pods that really run.

It keeps objects, refuses what a server refuses (unknown fields, bad names, missing rights, used-up quotas), knows dry
runs and owners, and its controllers (`fake_controllers`) make pods of Jobs. Faults are set on it by tests.
"""

import base64
import json
import threading
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer

import yaml
from fake_admission import RefusedError, validate
from fake_controllers import Controllers
from fake_kubernetes_http import KINDS, Handler

VERSION = "1.37"
TOKEN = "fake-cluster-token"


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeKubernetes:
    """The server; `objects` are keyed by (kind, namespace, name), without a namespace for those of the cluster."""

    def __init__(self, folder, runner):
        self.folder = folder
        self.lock = threading.RLock()
        self.objects = {}
        self.requests = []
        self.namespaces = {"lab"}
        self.denied = set()  # (verb, resource)
        self.token = TOKEN
        self.service_accounts = {"default"}
        self.priority_classes = set()
        self.missing_images = set()
        self.quota = None  # resource: hard limit
        self.policies = {}  # kind whose creation is refused, dry runs included: (HTTP code, message)
        self.pages = {}  # a part of a path that something before the server answers: (HTTP code, text)
        self.has_trainer = False
        self.has_queues = False
        self.lost_answers = []  # kinds whose next create is done and not answered
        self.lost_requests = []  # kinds whose next create is neither done nor answered
        self.cut_logs_after = None  # lines, once
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": self}))
        self.server.daemon_threads = True
        self.controllers = Controllers(self, runner)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.controllers.start()
        return self

    def stop(self):
        self.controllers.stop()
        self.server.shutdown()
        self.server.server_close()

    def kubeconfig(self, *, token=TOKEN, server=None, namespace="lab"):
        """Write a kubeconfig and return its path."""
        path = self.folder / f"kubeconfig-{uuid.uuid4().hex[:6]}"
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": server or self.url}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": namespace}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document))
        return str(path)

    # --- objects ---

    def all(self, kind, namespace=None):
        with self.lock:
            found = list(self.objects.items())
        return [value for key, value in found if key[0] == kind and namespace in (None, key[1])]

    def find(self, kind, name, namespace="lab"):
        return self.objects.get((kind, namespace, name))

    def names(self, *kinds):
        return sorted(f"{kind}/{name}" for kind, _, name in list(self.objects) if kind in kinds)

    def put(self, kind, name, namespace="lab", **fields):
        """Add an object as another client would have."""
        metadata = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now(), **fields.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        with self.lock:
            self.objects[kind, namespace or "", name] = {"kind": kind, "metadata": metadata, **fields}
        return self.objects[kind, namespace or "", name]

    def put_node(self, name, *, taints=(), labels=None, unschedulable=False, **allocatable):
        values = {
            "cpu": "64",
            "memory": "512Gi",
            **{key.replace("_", "/"): str(value) for key, value in allocatable.items()},
        }
        metadata = {"labels": {"kubernetes.io/hostname": name, **(labels or {})}}
        spec = {"taints": list(taints), **({"unschedulable": True} if unschedulable else {})}
        return self.put("Node", name, None, metadata=metadata, spec=spec, status={"allocatable": values})

    def put_secret(self, name, **values):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        return self.put("Secret", name, data=data, type="Opaque")

    def remove(self, kind, name, namespace="lab"):
        with self.lock:
            self.objects.pop((kind, namespace, name), None)

    # --- what a server does with a request ---

    def create(self, kind, namespace, body, *, dry_run):
        metadata = body.get("metadata") or {}
        name = metadata.get("name") or f"{metadata.get('generateName', '')}{uuid.uuid4().hex[:5]}"
        if metadata.get("namespace", namespace) != namespace:
            raise RefusedError(400, "BadRequest", "the namespace of the object is not that of the request")
        validate(kind, {**body, "metadata": {**metadata, "name": name}})
        if kind == "Pod":
            self.admit(body, namespace)
        else:
            self.consult(kind)
        with self.lock:
            if (kind, namespace, name) in self.objects:
                resource = next(plural for kinds in KINDS.values() for plural, known in kinds.items() if known == kind)
                raise RefusedError(409, "AlreadyExists", f'{resource} "{name}" already exists')
            made = json.loads(json.dumps(body))
            made["metadata"] |= {
                "name": name,
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": now(),
            }
            if not dry_run:
                self.objects[kind, namespace, name] = made
        return made

    def consult(self, kind):
        """Refuse what a policy refuses."""
        if kind in self.policies:
            code, message = self.policies[kind]
            raise RefusedError(code, "Forbidden" if code == 403 else "Invalid", message)

    def admit(self, pod, namespace):
        """Refuse a pod that the rules of its namespace forbid."""
        self.consult("Pod")
        spec = pod["spec"]
        account = spec.get("serviceAccountName", "default")
        if account not in self.service_accounts:
            said = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise RefusedError(403, "Forbidden", f'pods "x" is forbidden: {said}')
        priority = spec.get("priorityClassName")
        if priority and priority not in self.priority_classes:
            raise RefusedError(
                403, "Forbidden", f'pods "x" is forbidden: no PriorityClass with name {priority} was found'
            )
        for resource, hard in (self.quota or {}).items():
            asked = 1 if resource == "pods" else requested(spec, resource)
            live = [found for found in self.all("Pod", namespace) if found["status"]["phase"] in ("Pending", "Running")]
            used = sum(1 if resource == "pods" else requested(found["spec"], resource) for found in live)
            if asked and used + asked > hard:
                said = f"exceeded quota: team, requested: {resource}={asked}, used: {resource}={used}"
                said += f", limited: {resource}={hard}"
                raise RefusedError(403, "Forbidden", f'pods "x" is forbidden: {said}')

    def list(self, kind, namespace, query):
        found = self.all(kind, namespace or None)
        for selector in filter(None, query.get("labelSelector", [""])[0].split(",")):
            key, _, value = selector.partition("=")
            found = [item for item in found if (item["metadata"].get("labels") or {}).get(key) == value]
        for selector in filter(None, query.get("fieldSelector", [""])[0].split(",")):
            path, _, value = selector.partition("=")
            first, _, second = path.partition(".")
            found = [item for item in found if (item.get(first) or {}).get(second) == value]
        return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": found}

    def patch(self, kind, namespace, name, body):
        with self.lock:
            found = self.objects[kind, namespace, name]
            merge(found, body)
            return found

    @contextmanager
    def deny(self, verb, resource):
        self.denied.add((verb, resource))
        yield
        self.denied.discard((verb, resource))


def requested(spec, resource):
    total = 0
    for container in spec["containers"]:
        resources = container.get("resources", {})
        wanted = {**resources.get("limits", {}), **resources.get("requests", {})}
        total += int(wanted.get(resource.removeprefix("requests."), 0))
    return total


def merge(into, changes):
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
