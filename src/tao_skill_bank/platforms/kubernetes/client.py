"""A Kubernetes API server through the official client, and the meaning of its refusals."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tao_skill_bank.core import locations, settings
from tao_skill_bank.errors import BackendError, MissingExtraError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.answers import RefusedError
from tao_skill_bank.platforms.kubernetes import refusals

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
FOLLOW_SECONDS = 300.0  # without a line; then the log is asked for again
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
Object = dict[str, Any]

# Paths of the objects that this platform handles, by kind; those without a namespace belong to the whole cluster.
PATHS = {
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "TrainJob": "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs",
    "ClusterTrainingRuntime": "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes",
    "Node": "/api/v1/nodes",
    "SelfSubjectAccessReview": "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
}
EVERYWHERE = ("Event", "Node", "Pod")  # kinds that every server lists


class AccountError(BackendError):
    """The server does not accept the account, or does not let it do this: a matter of credentials."""

    exit_code = 4


class NotFoundError(Exception):
    """The server has no such object, or no such kind of objects."""


class TakenError(Exception):
    """The server has an object of this name already."""


class LostAnswerError(Exception):
    """A connection broke after the request may have arrived: what the server did is not known."""


@dataclass(frozen=True)
class Cluster:
    """An API server and a namespace, as a kubeconfig names them, or the pod that this process runs in."""

    api: Any
    namespace: str

    @classmethod
    def connect(cls, kubeconfig: str | None, context: str | None, namespace: str | None) -> "Cluster":
        """Return the cluster of a kubeconfig; nothing is asked of it yet.

        Raises:
            MissingExtraError: the client is not installed.
            BackendError: there is no kubeconfig, or it does not name the context.

        """
        try:
            import kubernetes  # noqa: F401
        except ImportError:
            raise MissingExtraError.for_module("kubernetes", "kubernetes") from None
        path = kubeconfig or settings.kubeconfig()
        api, own = _connected(path, context, _changed_at(path), is_named=kubeconfig is not None)
        return cls(api, namespace or own or "default")

    def get(self, kind: str, name: str = "", **query: str) -> Object:
        """Return an object, or a list of them without a name. Raises NotFoundError, or as `call` does."""
        try:
            answer = self.call("GET", self._path(kind, name), query)
        except NotFoundError as error:
            if name or kind not in EVERYWHERE:
                raise
            raise _not_understood(self._path(kind), str(error)) from None
        expected = (answer.get("metadata"), dict) if name else (answer.get("items", ()) or (), (list, tuple))
        if not isinstance(*expected) or (not name and "items" not in answer):
            raise _not_understood(self._path(kind, name), json.dumps(answer))
        return answer

    def metadata(self, kind: str, name: str) -> Object:
        """Return an object's metadata alone: the contents of a Secret stay on the server."""
        return self.call("GET", self._path(kind, name), {}, accept=METADATA_ONLY)

    def items(self, kind: str, **query: str) -> list[Object]:
        return list(self.get(kind, **query).get("items") or ())

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object; a dry run passes every check of the server and changes nothing.

        Raises:
            TakenError: the name is taken.
            LostAnswerError: no answer came, or none that names the object.
            BlockedError, BackendError: see `call`.

        """
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        created = self.call("POST", self._path(manifest["kind"]), query, manifest)
        if not dry_run and not (created.get("metadata") or {}).get("uid"):
            raise LostAnswerError(answers.words(json.dumps(created)))
        return created

    def release(self, kind: str, name: str) -> None:
        """Let a suspended job start; one that runs already keeps running."""
        body = {"spec": {"suspend": False}}
        self._request("PATCH", self._path(kind, name), {}, body, "application/json", READ_SECONDS)

    def delete(self, kind: str, name: str, uid: str | None = None) -> None:
        """Delete an object after what it owns; it may be gone already."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        with suppress(NotFoundError, TakenError):  # a conflict: another object of this name by now
            self.call("DELETE", self._path(kind, name), {}, options)

    def may(self, verb: str, resource: str, group: str = "", namespace: str | None = None) -> bool:
        """Ask whether this account may do something."""
        resource, _, part = resource.partition("/")
        attributes = {"verb": verb, "resource": resource, "group": group}
        if part:
            attributes["subresource"] = part
        if namespace is not None:
            attributes["namespace"] = namespace
        kind = "SelfSubjectAccessReview"
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {"resourceAttributes": attributes}}
        answer = self.call("POST", PATHS[kind], {}, review)
        allowed = (answer.get("status") or {}).get("allowed")
        if not isinstance(allowed, bool):
            raise _not_understood(PATHS[kind], json.dumps(answer))
        return allowed

    def log(self, pod: str, container: str | None, **query: str) -> Iterator[str]:
        """Yield the lines of a pod's log as they appear, until the log ends or the connection breaks."""
        import urllib3

        if container is not None:
            query["container"] = container
        response = self._request("GET", f"{self._path('Pod', pod)}/log", query, None, "*/*", FOLLOW_SECONDS)
        rest = b""
        try:
            for chunk in response.stream(4096, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except urllib3.exceptions.HTTPError:
            return  # the caller asks for the rest again
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        accept: str = "application/json",
    ) -> Object:
        """Return the server's answer.

        Raises:
            NotFoundError, TakenError, LostAnswerError: see there.
            BlockedError: it refuses the request.
            AccountError: it refuses the account.
            BackendError: it cannot be reached, fails, or answers something else.

        """
        response = self._request(method, path, query, body, accept, READ_SECONDS)
        answer = _document(response.data or b"{}")
        if answer is not None:
            return answer
        shown = (response.data or b"").decode(errors="replace")
        if method == "POST" and "dryRun" not in query:
            raise LostAnswerError(answers.words(shown))
        raise _not_understood(path, shown)

    def _path(self, kind: str, name: str = "") -> str:
        path = PATHS[kind].format(namespace=self.namespace)
        return f"{path}/{name}" if name else path

    def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, accept: str, read_seconds: float
    ) -> Any:
        """Return the answer, read completely unless `accept` is */*, as for a log."""
        import urllib3
        from kubernetes.client import ApiException

        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": accept, "Content-Type": content_type}
        pairs = list(query.items())
        try:
            self.api.update_params_for_auth(headers, pairs, ["BearerToken"])
            return self.api.request(
                method,
                f"{self.api.configuration.host}{path}",
                query_params=pairs,
                headers=headers,
                body=body,
                _preload_content=accept != "*/*",
                _request_timeout=(CONNECT_SECONDS, read_seconds),
            )
        except ApiException as error:
            if not error.status:  # how it reports that TLS failed
                raise self._unreachable(_one_line(error)) from None
            self._refused(error.status, error.body, method, path)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if method == "POST" and _may_have_arrived(error):
                raise LostAnswerError(_one_line(error)) from None
            raise self._unreachable(_one_line(error)) from None

    def _unreachable(self, said: str) -> BackendError:
        message = f"The API server {self.api.configuration.host} cannot be reached: {said}"
        return BackendError.of("kubernetes_unreachable", message, "See that it answers: kubectl version",
                               path="platform.name")  # fmt: skip

    def _refused(self, status: int, data: Any, method: str, path: str) -> NoReturn:
        """Raise the error of an answer other than 2xx."""
        document = _document(data)
        said, reason = _message(data) or f"HTTP {status}", (document or {}).get("reason")
        by_policy = refusals.BY_POLICY.search(said) is not None
        if status == 404 and not by_policy and "namespaces " not in said:
            if reason == "NotFound" or said.startswith("404 page not found"):
                raise NotFoundError(said)
            raise _not_understood(path, said)
        if status == 409 and not by_policy and (said.endswith("already exists") or method == "DELETE"):
            raise TakenError(said)
        if status == 401:
            raise self._not_logged_in(said)
        if status == 403 and refusals.is_missing_right(said):
            raise AccountError([refusals.forbidden(said, self.namespace)])
        if refusals.is_refusal(status, said):
            raise RefusedError([refusals.refusal(said, self.namespace)])
        what = f"{method} {path}"
        message = f"The API server failed on {what}: {status} {answers.words(said)}"
        raise BackendError.of("kubernetes_failed", message, "Ask again later: kubectl get --raw /readyz", path=what)

    def _not_logged_in(self, said: str) -> AccountError:
        message = f"The API server {self.api.configuration.host} does not accept the credentials of the kubeconfig"
        message += "." if said == "Unauthorized" else f": {answers.words(said)}"
        fix = "Log in again, so that this works: kubectl auth whoami"
        return AccountError.of("credential_kubernetes", message, fix, path="platform.options.kubeconfig")


@lru_cache(maxsize=16)  # login programs of clouds take seconds; the client renews their tokens
def _connected(
    path: str, context: str | None, changed_at: tuple[int, ...], *, is_named: bool
) -> tuple[Any, str | None]:
    """Return the client of a kubeconfig and the namespace of its context. Raises BackendError."""
    from kubernetes import client, config

    configuration = client.Configuration()
    configuration.retries = 0  # each request is sent once
    try:
        if not is_named and context is None and settings.is_in_pod() and not changed_at:
            config.load_incluster_config(configuration)
            return client.ApiClient(configuration), POD_NAMESPACE.read_text(encoding="utf-8").strip()
        config.load_kube_config(path, context, configuration, persist_config=False)
        contexts, active = config.list_kube_config_contexts(path)
    except (config.ConfigException, yaml.YAMLError, OSError, TypeError, ValueError, KeyError) as error:
        message = f"There is no usable kubeconfig: {_one_line(error)}"
        fix = "Set KUBECONFIG or --option kubeconfig=PATH, and see its contexts: kubectl config get-contexts"
        raise BackendError.of("kubernetes_no_config", message, fix, path="platform.options.kubeconfig") from None
    named = next((found for found in contexts if found["name"] == context), active)
    return client.ApiClient(configuration), (named.get("context") or {}).get("namespace")


def _may_have_arrived(error: Exception) -> bool:
    import urllib3

    reason = getattr(error, "reason", error)
    if isinstance(reason, Exception):
        error = reason
    return isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError))


def _document(data: Any) -> Object | None:
    """Return an answer as the object that it is; None where it is something else."""
    try:
        found = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(data: Any) -> str:
    """Return the message of a Status object, or the text of another answer."""
    found = _document(data)
    if found is None:
        return (data.decode(errors="replace") if isinstance(data, bytes) else str(data or "")).strip()
    return str(found.get("message") or found.get("reason") or json.dumps(found))


def _not_understood(path: str, text: str) -> BackendError:
    fix = "See that the kubeconfig names the API server itself, not a page before it: kubectl get --raw /version"
    program = f"the API server to {path}"
    return answers.not_understood("kubernetes_not_understood", program, answers.first_line(text), fix)


def _one_line(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return " ".join(str(reason or error).split())[:300]


def _changed_at(paths: str) -> tuple[int, ...]:
    """Return when each file of a kubeconfig was written; without any, nothing."""
    files = [locations.absolute(part) for part in paths.split(":")]
    return tuple(file.stat().st_mtime_ns for file in files if file.is_file())
