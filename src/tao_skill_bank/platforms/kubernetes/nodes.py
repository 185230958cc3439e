"""Whether the nodes of a cluster, if all were free, could hold the pods of a job, also without those that failed."""

from collections.abc import Iterator, Mapping, Sequence

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.platforms.kubernetes import render
from tao_skill_bank.platforms.kubernetes.client import Cluster, Object
from tao_skill_bank.platforms.kubernetes.options import Options, quantity
from tao_skill_bank.platforms.kubernetes.pods import Pod

HOSTNAME = "kubernetes.io/hostname"
AUTOSCALE = "or set --option autoscale=true where nodes are added on demand"


def findings(nodes: list[Object], job: Job, options: Options) -> Iterator[Finding]:
    """Yield why the pods can never all run; nothing if they might."""
    pod = render.pod(job, options)["spec"]
    resources = pod["containers"][0]["resources"]
    wanted = _wanted(resources)
    usable = [node for node in nodes if _admits(node, pod)]
    if not usable:
        message = (
            f"None of the cluster's {len(nodes)} nodes accepts such a pod: they are cordoned, tainted or not selected."
        )
        fix = f"Change --option node_selector, tolerations or exclude (kubectl describe nodes), {AUTOSCALE}."
        yield Finding("no_such_nodes", "blocking", message, fix, "platform.options.node_selector")
        return
    short = {name: need for name, need in wanted.items() if max(_has(node, name) for node in usable) < need}
    for name, need in short.items():
        yield _short(name, need, max(_has(node, name) for node in usable), options)
    if short:
        return
    room = _room(usable, wanted)
    if room < job.resources.nodes:
        message = (
            f"The nodes that the job may use have room for {room} of its {job.resources.nodes} pods, even when free."
        )
        fix = f"Lower platform.nodes or platform.gpus, {AUTOSCALE}."
        yield Finding("no_such_nodes", "blocking", message, fix, "platform.nodes")


def to_exclude(cluster: Cluster, pods: Sequence[Pod], job: Job, options: Options) -> list[str]:
    """Return the host names of the nodes whose failure ended pods, as far as the others have room for the job.

    Raises:
        BackendError: the cluster cannot be asked, or the account may not list nodes.

    """
    failed = {pod.node for pod in pods if pod.node and pod.lost_node}
    if not failed:
        return []
    nodes = cluster.items("Node")
    pod = render.pod(job, options)["spec"]
    usable = [node for node in nodes if _admits(node, pod) and _is_ready(node)]
    excluded: list[str] = []
    for node in nodes:
        name = (node["metadata"].get("labels") or {}).get(HOSTNAME)
        if name is None or node["metadata"]["name"] not in failed:
            continue
        others = [other for other in usable if other is not node]
        if _room(others, _wanted(pod["containers"][0]["resources"])) >= job.resources.nodes:
            excluded.append(name)
            usable = others
    return excluded


def _wanted(resources: Object) -> dict[str, float]:
    """Return what a node must have for a pod: what it requests; a limit alone is a request."""
    values = {**resources.get("limits", {}), **resources["requests"]}
    return {name: quantity(value) for name, value in values.items()}


def _room(nodes: Sequence[Object], wanted: Mapping[str, float]) -> int:
    """Return for how many pods the nodes have room, even when free."""
    return sum(min(int(_has(node, name) // need) for name, need in wanted.items() if need) for node in nodes)


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return all(found.get("status") == "True" for found in conditions if found.get("type") == "Ready")


def _short(name: str, need: float, largest: float, options: Options) -> Finding:
    if name == options.gpu_resource:
        message = f"No node that the job may use has {need:.0f} {name}: the largest has {largest:.0f}."
        fix = f"Lower platform.gpus to {largest:.0f}, with more nodes, {AUTOSCALE}."
        if not largest:
            fix = f"Choose a cluster or nodes with GPUs (kubectl describe nodes), {AUTOSCALE}."
        return Finding("no_such_gpus", "blocking", message, fix, "platform.gpus")
    shown = [f"{value / 2**30:.0f} GiB" if name == "memory" else f"{value:g}" for value in (need, largest)]
    message = f"No node that the job may use has {shown[0]} of {name}: the largest has {shown[1]}."
    return Finding(
        "no_such_nodes", "blocking", message, f"Lower --option {name}, {AUTOSCALE}.", f"platform.options.{name}"
    )


def _has(node: Object, name: str) -> float:
    return quantity(str(node.get("status", {}).get("allocatable", {}).get(name, "0")))


def _admits(node: Object, pod: Object) -> bool:
    """Return whether a node takes a pod, whatever its size."""
    spec, labels = node.get("spec", {}), node["metadata"].get("labels") or {}
    selected = all(labels.get(key) == value for key, value in pod.get("nodeSelector", {}).items())
    if spec.get("unschedulable") or not selected or labels.get("kubernetes.io/hostname") in _excluded(pod):
        return False
    taints = [taint for taint in spec.get("taints") or () if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(known, taint) for known in pod.get("tolerations", ())) for taint in taints)


def _excluded(pod: Object) -> list[str]:
    affinity = pod.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = affinity.get("nodeSelectorTerms", ())
    return [name for term in terms for expression in term["matchExpressions"] for name in expression["values"]]


def _tolerates(known: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    same_key = known.get("key") == taint.get("key")
    same_value = known["operator"] == "Exists" or known.get("value", "") == taint.get("value", "")
    return same_key and same_value and known.get("effect", taint["effect"]) == taint["effect"]
