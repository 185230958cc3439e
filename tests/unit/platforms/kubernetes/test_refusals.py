"""What an API server refuses, in words that nobody foresaw."""

from dataclasses import replace

import pytest
from runs import make_plan, make_record

from tao_skill_bank.contracts import Resources, State, Transition
from tao_skill_bank.errors import BackendError, BlockedError, TaoSkillsError
from tao_skill_bank.jobs import diagnose
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import gate
from tao_skill_bank.platforms.kubernetes import refusals
from tao_skill_bank.platforms.kubernetes.platform import PLATFORM

FORBIDDEN = 'pods "x" is forbidden: '
TERMINATING = (
    'configmaps "x" is forbidden: unable to create new content in namespace lab because it is being terminated'
)
INVENTED = [
    ("Pod", 403, f"{FORBIDDEN}failed quota: team: must specify limits.cpu for: trainer; limits.memory for: trainer"),
    ("Pod", 400, 'admission webhook "v.kyverno.svc" denied the request: \n\npolicy team-label:\n  check: label "team"'),
    ("Job", 403, 'admission webhook "gate.corp" denied the request: [no-friday] no training on Fridays'),
    ("ConfigMap", 403, TERMINATING),
    ("Pod", 422, "ValidatingAdmissionPolicy 'gpu' with binding 'gpu' denied request: expression 'gpus < 4' failed"),
    ("Pod", 403, f"{FORBIDDEN}maximum memory usage per Pod is 1Gi, but limit is 2Gi"),
    ("Job", 409, 'admission webhook "one.corp" denied the request: a training of yours already exists'),
    ("ConfigMap", 404, 'admission webhook "x.corp" denied the request: cost centre 404 not found'),
    ("Pod", 403, 'Zugriff verweigert: das Kontingent "GPU" ist für Gäste gesperrt'),
    ("Job", 418, "no coffee, no training"),
    ("Job", 403, 'admission webhook "hr.corp" denied the request: User "jane" cannot create resource "jobs" at night'),
    ("ConfigMap", 413, "Request entity too large: limit is 3145728"),
    ("Pod", 500, 'admission webhook "y.corp" denied the request: image registry/image:1 is not signed'),
]
TWO_NODES = Resources(nodes=2, device="cpu")


@pytest.fixture
def cluster(kubernetes_cluster):
    kubernetes_cluster.put_node("n1")
    return kubernetes_cluster


@pytest.fixture
def job(kubernetes_jobs):
    return kubernetes_jobs


def lines_missing(said, message):
    return [line.strip() for line in said.splitlines() if line.strip() not in message]


@pytest.mark.parametrize(("kind", "code", "said"), INVENTED)
def test_a_refusal_in_any_words_blocks_the_plan_and_the_launch_and_repeats_them(cluster, job, kind, code, said):
    cluster.policies[kind] = (code, said)
    (found,) = PLATFORM.probe(job())
    assert (found.severity, bool(found.fix)) == ("blocking", True)
    assert not found.code.startswith("credential_")
    assert lines_missing(said, found.message) == []
    with pytest.raises(BlockedError) as error:
        PLATFORM.submit(make_plan(job(), "kubernetes"))
    assert error.value.exit_code == 3
    assert lines_missing(said, error.value.problems[0].message) == []
    assert cluster.names("Job", "ConfigMap", "Pod") == []


@pytest.mark.parametrize(
    "said",
    [
        'jobs.batch is forbidden: User "x" cannot create resource "jobs" in API group "batch" in the namespace "lab"',
        'jobs.batch "a" is forbidden: User "x" cannot get resource "jobs" in API group "batch" in the namespace "lab"',
        'nodes is forbidden: User "system:serviceaccount:lab:me" cannot list resource "nodes" in API group "" at the '
        "cluster scope",
        'forbidden: User "x" cannot get path "/apis/kueue.x-k8s.io"',
        'jobs.batch is forbidden: User "x" cannot create resource "jobs" in API group "batch" in the namespace "lab": '
        'requires one of ["container.jobs.create"] permission(s).',
    ],
)
def test_a_missing_right_is_one_where_the_server_says_so(said):
    assert refusals.is_missing_right(said)
    assert refusals.forbidden(said, "lab").code == "credential_forbidden"


@pytest.mark.parametrize(("kind", "code", "said"), INVENTED)
def test_no_refusal_of_a_policy_reads_as_a_missing_right(kind, code, said):
    assert not refusals.is_missing_right(said)


def test_a_real_missing_right_is_still_a_matter_of_credentials(cluster, job):
    with cluster.deny("create", "configmaps"):
        found = PLATFORM.probe(job())
    assert [(one.code, one.severity) for one in found] == [("credential_forbidden", "blocking")]
    with pytest.raises(BlockedError) as error:
        gate.raise_if_blocked(found)
    assert error.value.exit_code == 4


def test_rules_for_pods_that_could_not_be_asked_are_said(cluster, job):
    with cluster.deny("create", "pods"):
        (found,) = PLATFORM.probe(job())
    assert (found.code, found.severity) == ("pods_not_checked", "not_checked")
    assert "--verb=create --resource=pods" in found.fix


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (200, "<html>Log in to Corp SSO</html>"),
        (200, "[]"),
        (404, "<html>no such page</html>"),
        (503, "upstream connect error"),
        (500, '{"kind": "Status", "message": "etcdserver: request timed out"}'),
        (500, '{"kind": "Status", "message": "failed calling webhook \\"x\\": connection refused"}'),
        (409, '{"kind": "Status", "reason": "Conflict", "message": "quota: the object has been modified"}'),
        (429, "too many requests"),
    ],
)
@pytest.mark.parametrize("part", ["configmaps", "nodes"])
def test_a_server_that_is_not_understood_warns_a_plan_and_stops_a_launch(cluster, job, part, code, text):
    cluster.pages[part] = (code, text)
    (found,) = PLATFORM.probe(job())
    assert (found.severity, found.blocks_run) == ("warning", True)
    quoted = text if not text.startswith("{") else text.partition('"message": "')[2].partition('"')[0].rstrip("\\")
    assert quoted in found.message
    with pytest.raises(BackendError) as error:
        gate.raise_if_blocked([found])
    assert error.value.exit_code == 6


@pytest.mark.parametrize("text", ["<html>Log in</html>", '{"detail": "log in"}', "{}"])
def test_a_page_before_the_server_ends_no_job(cluster, job, text):
    made = job()
    record = make_record(made, platform="kubernetes", backend_ref=PLATFORM.submit(make_plan(made, "kubernetes")))
    cluster.pages["/jobs/"] = (200, text)
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError, match="not understood"):
            verb(record)
    cluster.pages.clear()
    cluster.pages["/pods"] = (404, text)
    with pytest.raises(BackendError, match="not understood"):
        PLATFORM.status(record)
    cluster.pages.clear()
    assert not PLATFORM.status(record).state.is_terminal


def test_a_rule_that_only_the_controller_meets_ends_the_launch_in_its_words(cluster, job):
    said = f"{FORBIDDEN}only team-b may train here"
    cluster.policies["Pod"] = (403, said)
    with cluster.deny("create", "pods"), pytest.raises(BlockedError) as error:
        PLATFORM.submit(make_plan(job(), "kubernetes"))
    assert said in error.value.problems[0].message


@pytest.mark.parametrize("reason", ["DeletionByTaintManager", "DeletionByPodGC", "PreemptionByScheduler"])
@pytest.mark.parametrize("others", [1, 2])
def test_a_retry_avoids_nodes_that_failed_while_enough_are_left(cluster, job, reason, others):
    for number in range(2, 2 + others):
        cluster.put_node(f"n{number}")
    made = job(resources=TWO_NODES, distributed=True)
    cluster.find("Node", "n1", "")["status"]["allocatable"]["cpu"] = "1"
    for node in cluster.all("Node"):
        node["status"]["allocatable"]["cpu"] = "1"
    ended = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}
    labels = {"app.kubernetes.io/instance": made.id}
    cluster.put("Pod", "p0", metadata={"labels": labels}, spec={"nodeName": "n1", "containers": []}, status=ended)
    record = make_record(
        made, platform="kubernetes", backend_ref={"resource": "job", "kubeconfig": made.platform.options["kubeconfig"]}
    )
    expected = {"exclude": "n1"} if others == 2 and reason != "PreemptionByScheduler" else {}
    assert PLATFORM.avoiding(record, made) == expected


@pytest.mark.usefixtures("cluster")
def test_a_limit_of_cores_is_rendered_and_alone_is_the_request(job):
    made = job({"cpu_limit": "6"}, resources=Resources(processes_per_node=2, device="cpu"))
    text = make_plan(made, "kubernetes").files["manifest.yaml"]
    assert text.count("cpu: '6'") == 2
    assert PLATFORM.probe(job({"cpu_limit": "200", "cpu": "1"})) == []  # a limit may be above what a node has


def test_a_job_of_a_server_that_refuses_now_hides_no_other(cluster, job):
    made = job()
    record = make_record(made, platform="kubernetes", backend_ref=PLATFORM.submit(make_plan(made, "kubernetes")))
    cluster.pages["/jobs/"] = (403, "your VPN session has expired")
    with pytest.raises(BackendError, match="VPN session"):
        PLATFORM.status(record)
    cluster.pages.clear()
    assert PLATFORM.status(record).state is not State.UNKNOWN


@pytest.fixture
def finished(cluster, job):
    """Return the record of a job whose pod has run and whose run directory is not seen from here."""
    made = job()
    record = make_record(made, platform="kubernetes", backend_ref=PLATFORM.submit(make_plan(made, "kubernetes")))
    cluster.controllers.stop()
    (pod,) = cluster.all("Pod")
    pod["status"] = {"phase": "Failed"}
    return record


@pytest.mark.parametrize(
    ("code", "said", "shown"),
    [
        (403, "your VPN session has expired", "your VPN session has expired"),
        (403, "<html>403 Forbidden</html>", "403 Forbidden"),
        (400, 'the server refuses "logs" here', "refuses"),
        (403, f'{FORBIDDEN}User "jane" cannot get resource "pods/log" in API group "" in the namespace "lab"', "jane"),
    ],
)  # fmt: skip
def test_a_log_that_may_not_be_read_is_no_empty_log(cluster, finished, code, said, shown):
    JobStore().create(replace(finished, terminal_state=State.ERROR,
                              transitions=(Transition("", State.ERROR, "Exit code 1."),)))  # fmt: skip
    cluster.pages["/log"] = (code, said)
    with pytest.raises(TaoSkillsError, match=shown) as error:
        list(PLATFORM.logs(finished, follow=False))
    assert error.value.problems[0].fix
    root, unreadable = diagnose.diagnose(finished.id)
    assert root.cause.startswith("Exit code 1.")
    assert (unreadable.code, unreadable.role) == ("log_unreadable", "also")
    assert shown in unreadable.cause


@pytest.mark.parametrize("said", [
    'container "trainer" in pod "x-0" is waiting to start: PodInitializing',
    'container "trainer" in pod "x-0" is waiting to start: trying and failing to pull image',
    'container "trainer" in pod "x-0" is not available',
])  # fmt: skip
def test_the_log_of_a_container_that_is_not_there_is_empty(cluster, finished, said):
    cluster.pages["/log"] = (400, said)
    assert list(PLATFORM.logs(finished, follow=False)) == []
