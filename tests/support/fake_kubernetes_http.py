"""The HTTP of the fake API server: paths to kinds, who may do what, and logs that are followed."""

import json
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from fake_admission import RefusedError

KINDS = {
    "/api/v1": {
        "configmaps": "ConfigMap", "events": "Event", "persistentvolumeclaims": "PersistentVolumeClaim", "pods": "Pod",
        "secrets": "Secret", "services": "Service", "nodes": "Node",
    },
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/trainer.kubeflow.org/v1alpha1": {
        "trainjobs": "TrainJob", "clustertrainingruntimes": "ClusterTrainingRuntime",
    },
    "/apis/kueue.x-k8s.io/v1beta1": {"localqueues": "LocalQueue"},
    "/apis/authorization.k8s.io/v1": {"selfsubjectaccessreviews": "SelfSubjectAccessReview"},
}  # fmt: skip
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Handler(BaseHTTPRequestHandler):
    """Answers for a `fake` server, which a subclass names."""

    fake = None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its headers

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.answer()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - named by the base class

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        address = urlsplit(self.path)
        self.fake.requests.append((self.command, address.path + (f"?{address.query}" if address.query else "")))
        page = next((page for part, page in self.fake.pages.items() if part in address.path), None)
        if page is not None:
            self.send_text(*page)
            return
        try:
            if self.headers.get("Authorization") != f"Bearer {self.fake.token}":
                raise RefusedError(401, "Unauthorized", "Unauthorized")
            found = self.route(address.path, parse_qs(address.query), body)
        except RefusedError as error:
            document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(error)}
            self.send(error.code, {**document, "reason": error.reason, "code": error.code})
            return
        if found is not None:
            self.send(201 if self.command == "POST" else 200, found)

    def route(self, path, query, body):
        prefix = next((known for known in KINDS if path == known or path.startswith(f"{known}/")), None)
        if path == "/apis/kueue.x-k8s.io" and self.fake.has_queues:
            return {"kind": "APIGroup", "preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta1"}}
        if prefix is None or not self.is_installed(prefix):
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        rest = path.removeprefix(prefix).strip("/").split("/")
        if rest == [""]:
            return {"kind": "APIResourceList", "resources": []}
        namespace = rest[1] if rest[0] == "namespaces" else ""
        plural, name, part = ([*rest[2:], "", ""] if namespace else [*rest, "", ""])[:3]
        self.authorize(prefix, plural, name, part, namespace)
        if namespace and namespace not in self.fake.namespaces and self.command == "POST":
            raise RefusedError(404, "NotFound", f'namespaces "{namespace}" not found')
        return self.of_kind(KINDS[prefix][plural], plural, namespace, (name, part), query, body)

    def of_kind(self, kind, plural, namespace, rest, query, body):
        name, part = rest
        if kind == "SelfSubjectAccessReview":
            return self.review(body)
        if self.command == "POST":
            return self.create(kind, namespace, body, query)
        if not name:
            return self.fake.list(kind, namespace, query)
        found = self.fake.objects.get((kind, namespace, name))
        if found is None:
            raise RefusedError(404, "NotFound", f'{plural} "{name}" not found')
        return self.log(found, query) if part == "log" else self.one(kind, namespace, found, body)

    def one(self, kind, namespace, found, body):
        name = found["metadata"]["name"]
        if self.command == "PATCH":
            return self.fake.patch(kind, namespace, name, body)
        if self.command == "DELETE":
            wanted = ((body or {}).get("preconditions") or {}).get("uid")
            if wanted not in (None, found["metadata"]["uid"]):
                raise RefusedError(409, "Conflict", "the UID in the precondition does not match")
            self.fake.controllers.delete(kind, namespace, name)
            return {"kind": "Status", "status": "Success"}
        if "PartialObjectMetadata" in self.headers.get("Accept", ""):
            return {"kind": "PartialObjectMetadata", "metadata": found["metadata"]}
        return found

    def is_installed(self, prefix):
        needs = {"trainer": self.fake.has_trainer, "kueue": self.fake.has_queues}
        return all(is_there for word, is_there in needs.items() if word in prefix)

    def authorize(self, prefix, plural, name, part, namespace):
        verb = VERBS.get(self.command) or ("get" if name else "list")
        resource = f"{plural}/{part}" if part else plural
        if (verb, resource) not in self.fake.denied:
            return
        group = prefix.split("/")[2] if prefix.startswith("/apis") else ""
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        said = f'User "jane" cannot {verb} resource "{resource}" in API group "{group}"{where}'
        full = f"{plural}.{group}" if group else plural
        raise RefusedError(403, "Forbidden", f"{full} is forbidden: {said}")

    def review(self, body):
        asked = body["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{asked['subresource']}" if "subresource" in asked else "")
        return {**body, "status": {"allowed": (asked["verb"], resource) not in self.fake.denied}}

    def create(self, kind, namespace, body, query):
        is_dry = query.get("dryRun") == ["All"]
        if not is_dry and kind in self.fake.lost_requests:
            self.fake.lost_requests.remove(kind)
            return self.hang_up()
        made = self.fake.create(kind, namespace, body, dry_run=is_dry)
        if not is_dry and kind in self.fake.lost_answers:
            self.fake.lost_answers.remove(kind)
            return self.hang_up()
        return made

    def hang_up(self):
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def log(self, pod, query):
        lines = self.fake.controllers.log(pod)
        if lines is None:
            name = pod["metadata"]["name"]
            message = f'container "trainer" in pod "{name}" is waiting to start: ContainerCreating'
            raise RefusedError(400, "BadRequest", message)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.stream(pod, query)

    def stream(self, pod, query):
        since, tail = query.get("sinceTime", [""])[0], query.get("tailLines", [None])[0]
        is_followed, has_stamps = query.get("follow") == ["true"], query.get("timestamps") == ["true"]
        lines = self.fake.controllers.log(pod)
        position = max(0, len(lines) - int(tail)) if tail is not None else 0
        sent = 0
        while True:
            is_over = not is_followed or self.fake.controllers.is_over(pod)
            for line in lines[position:]:
                position += 1
                if line[:19] >= since[:19]:
                    text = line if has_stamps else line.partition(" ")[2]
                    data = f"{text}\n".encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    sent += 1
                if self.fake.cut_logs_after is not None and sent >= self.fake.cut_logs_after:
                    self.fake.cut_logs_after = None
                    return self.hang_up()
            self.wfile.flush()
            if is_over and position >= len(lines):
                break
            self.fake.controllers.wait()
        self.wfile.write(b"0\r\n\r\n")
        return None

    def send(self, code, document):
        self.send_text(code, json.dumps(document))

    def send_text(self, code, text):
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)
