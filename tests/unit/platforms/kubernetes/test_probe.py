from pathlib import Path

import kubernetes_validate
import pytest
from kubernetes_jobs import kubernetes_job

from tao_skill_bank.contracts import Resources, Workload
from tao_skill_bank.core import yaml12
from tao_skill_bank.platforms.kubernetes.platform import PLATFORM
from tao_skill_bank.platforms.kubernetes.probe import RIGHTS, TRAINER_RIGHTS

TWO_NODES = Resources(nodes=2, processes_per_node=8, device="cuda")


@pytest.fixture
def cluster(kubernetes_cluster):
    return kubernetes_cluster


@pytest.fixture
def job(kubernetes_jobs):
    return kubernetes_jobs


def codes(findings, *severities):
    return [found.code for found in findings if not severities or found.severity in severities]


def test_a_request_that_the_cluster_can_meet_has_no_finding_and_changes_nothing(cluster, job):
    cluster.put_node("n1", **{"nvidia.com_gpu": 8})
    cluster.put_node("n2", **{"nvidia.com_gpu": 8})
    before = set(cluster.objects)
    assert PLATFORM.probe(job(resources=TWO_NODES, distributed=True)) == []
    assert set(cluster.objects) == before
    written = [path for method, path in cluster.requests if method != "GET" and "selfsubject" not in path]
    assert written
    assert all("dryRun=All" in path for path in written)


def test_what_the_pods_would_not_see_blocks_the_plan(job, cluster):
    cluster.put_node("n1")
    workload = Workload(model="/elsewhere/model", trains=True)
    made = job(workload=workload, fetches=(("hf_model://ORG/NAME", "/home/me/.tao/models/NAME"),))
    found = PLATFORM.probe(made)
    assert codes(found, "blocking") == ["data_not_shared"]
    assert codes(found, "warning") == ["model_not_shared"]


def test_a_job_without_image_or_storage_is_blocked():
    found = PLATFORM.probe(kubernetes_job("/run", {"kubeconfig": "/no/such"}, image=None))
    assert codes(found, "blocking") == ["no_image", "no_shared_storage"]


def test_an_image_that_brings_its_own_command_is_blocked(cluster, job):
    cluster.put_node("n1")
    assert codes(PLATFORM.probe(job(command=("cosmos-rl",))), "blocking") == ["image_without_package"]


@pytest.mark.parametrize(
    ("options", "resources", "code", "part"),
    [
        ({}, Resources(processes_per_node=16, device="cuda"), "no_such_gpus", "the largest has 8"),
        ({}, Resources(nodes=3, processes_per_node=8, device="cuda"), "no_such_nodes", "2 of its 3 pods"),
        ({"memory": "900Gi"}, Resources(device="cpu"), "no_such_nodes", "900 GiB"),
        ({"cpu": "65"}, Resources(device="cpu"), "no_such_nodes", "has 65 of cpu"),
        ({"node_selector": "zone=b"}, Resources(device="cpu"), "no_such_nodes", "not selected"),
        ({"exclude": "n1,n2"}, Resources(device="cpu"), "no_such_nodes", "not selected"),
    ],
)
def test_a_request_that_no_node_can_meet_blocks_the_plan(cluster, job, options, resources, code, part):
    for name in ("n1", "n2"):
        cluster.put_node(name, **{"nvidia.com_gpu": 8})
    cluster.put_node("cordoned", unschedulable=True, **{"nvidia.com_gpu": 16})
    cluster.put_node("tainted", taints=[{"key": "team", "value": "other", "effect": "NoSchedule"}], cpu="128")
    (found,) = PLATFORM.probe(job(options, resources=resources, distributed=True))
    assert (found.code, found.severity) == (code, "blocking")
    assert part in found.message
    assert found.fix
    assert PLATFORM.probe(job({**options, "autoscale": "true"}, resources=resources, distributed=True)) == []


def test_a_taint_that_is_tolerated_is_no_obstacle(cluster, job):
    cluster.put_node("n1", taints=[{"key": "team", "value": "lab", "effect": "NoSchedule"}], **{"nvidia.com_gpu": 1})
    resources = Resources(device="cuda")
    assert codes(PLATFORM.probe(job(resources=resources))) == ["no_such_nodes"]
    assert PLATFORM.probe(job({"tolerations": "team=lab:NoSchedule"}, resources=resources)) == []


def test_nodes_that_may_not_be_listed_are_not_checked(cluster, job):
    with cluster.deny("list", "nodes"):
        (found,) = PLATFORM.probe(job())
    assert (found.code, found.severity) == ("nodes_not_checked", "not_checked")


@pytest.mark.parametrize(
    ("options", "code", "path"),
    [
        ({"namespace": "nowhere"}, "unknown_namespace", "namespace"),
        ({"claim": "nothing"}, "unknown_claim", "claim"),
        ({"secret": "nothing"}, "credential_secret_missing", "secret"),
        ({"image_pull_secret": "nothing"}, "credential_secret_missing", "image_pull_secret"),
        ({"service_account": "nobody"}, "unknown_service_account", "service_account"),
        ({"priority_class": "huge"}, "unknown_priority_class", "priority_class"),
        ({"queue": "team"}, "kueue_missing", "queue"),
        ({"resource": "trainjob"}, "trainer_missing", "resource"),
    ],
)
def test_what_the_cluster_does_not_have_blocks_the_plan(cluster, job, options, code, path):
    cluster.put_node("n1")
    made = job(options)
    if "resource" in options:
        del made.platform.options["grace_seconds"]
    found = [known for known in PLATFORM.probe(made) if known.severity == "blocking"]
    assert (code, f"platform.options.{path}") in [(known.code, known.path) for known in found]
    assert all(known.fix for known in found)


def test_a_queue_and_a_runtime_that_are_missing_are_told_where_their_engines_are_there(cluster, job):
    cluster.put_node("n1")
    cluster.has_queues = cluster.has_trainer = True
    made = job({"queue": "team", "resource": "trainjob"})
    del made.platform.options["grace_seconds"]
    assert codes(PLATFORM.probe(made)) == ["unknown_runtime", "unknown_queue"]
    cluster.put("ClusterTrainingRuntime", "torch-distributed", None)
    cluster.put("LocalQueue", "team")
    assert PLATFORM.probe(made) == []


def test_a_claim_of_one_node_does_not_do_for_two(cluster, job):
    cluster.put_node("n1")
    cluster.put("PersistentVolumeClaim", "data", spec={"accessModes": ["ReadWriteOnce"]}, status={"phase": "Bound"})
    (found,) = PLATFORM.probe(job(resources=Resources(nodes=2, device="cpu"), distributed=True))
    assert (found.code, found.severity) == ("claim_not_shared", "blocking")
    assert PLATFORM.probe(job()) == []


def test_a_secret_is_looked_for_without_reading_it(cluster, job):
    cluster.put_node("n1")
    cluster.put_secret("tokens", HF_TOKEN="hf_value")
    assert PLATFORM.probe(job({"secret": "tokens"})) == []


def test_missing_rights_are_told_together_with_the_commands_that_give_them(cluster, job):
    cluster.put_node("n1")
    with cluster.deny("create", "jobs"), cluster.deny("get", "pods/log"), cluster.deny("delete", "jobs"):
        (found,) = PLATFORM.probe(job())
    assert (found.code, found.severity) == ("credential_forbidden", "blocking")
    assert "create jobs, delete jobs, get pods/log" in found.message
    assert "kubectl create role tao-jobs --namespace lab --verb=create,delete --resource=jobs.batch" in found.fix
    assert "--verb=get --resource=pods/log" in found.fix


def test_a_used_up_quota_blocks_the_plan(cluster, job):
    cluster.put_node("n1", **{"nvidia.com_gpu": 8})
    cluster.quota = {"requests.nvidia.com/gpu": 4}
    (found,) = PLATFORM.probe(job(resources=Resources(processes_per_node=8, device="cuda"), distributed=True))
    assert (found.code, found.severity) == ("quota_reached", "blocking")
    assert "exceeded quota" in found.message


def test_refused_credentials_are_a_matter_of_credentials(cluster, job):
    found = PLATFORM.probe(job({"kubeconfig": cluster.kubeconfig(token="old")}))
    assert codes(found, "blocking") == ["credential_kubernetes"]


@pytest.mark.parametrize("how", ["no kubeconfig", "server down", "unknown context", "broken kubeconfig"])
def test_a_cluster_that_is_not_there_stops_a_launch_and_no_plan(cluster, job, tmp_path, how):
    options = {
        "no kubeconfig": {"kubeconfig": "/no/such/file"},
        "server down": {"kubeconfig": cluster.kubeconfig(server="http://127.0.0.1:9")},
        "unknown context": {"context": "other"},
        "broken kubeconfig": {"kubeconfig": str(tmp_path / "broken")},
    }[how]
    (tmp_path / "broken").write_text("clusters: [")
    (found,) = PLATFORM.probe(job(options))
    code = "kubernetes_unreachable" if how == "server down" else "kubernetes_no_config"
    assert (found.code, found.severity, found.blocks_run) == (code, "warning", True)
    assert found.fix


def test_the_rights_that_the_skill_lists_are_those_that_are_asked_for():
    path = Path(__file__).parents[4] / "skills" / "tao-run-on-kubernetes" / "references" / "rights.yaml"
    rules = yaml12.read(path)["rules"]
    given = {
        (verb, resource, group)
        for rule in rules
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }
    wanted = {(right.verb, right.resource, right.group) for right in (*RIGHTS, *TRAINER_RIGHTS)}
    assert wanted <= given
    kubernetes_validate.validate(yaml12.read(path), "1.37", strict=True)
