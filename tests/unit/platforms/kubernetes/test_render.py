import re
from pathlib import Path

import kubernetes_validate
import pytest
from kubernetes_jobs import kubernetes_job, manifests
from runs import make_plan

from tao_skill_bank.contracts import Credential, Resources, Workload
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError
from tao_skill_bank.platforms.kubernetes import options as kubernetes_options
from tao_skill_bank.platforms.kubernetes.platform import PLATFORM
from tao_skill_bank.spec import config_files

GOLDEN = Path(__file__).parents[3] / "golden"
STORAGE = {"claim": "data", "claim_path": "/shared"}
TWO_NODES = Resources(nodes=2, processes_per_node=8, device="cuda")
VERSIONS = ("1.29", "1.31", "1.33", "1.35", "1.37")
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")


GOLDENS = {
    "kubernetes_train_two_nodes_gpu.yaml": (
        {
            "resources": TWO_NODES,
            "distributed": True,
            "config_file": "config/train.toml",
            "config": {"train": {"epoch": 3}},
            "resume_key": "train.resume",
            "fetches": (("hf_model://ORG/NAME", "/shared/.tao/models/NAME"),),
            "credentials": (Credential("HF_TOKEN"), Credential("WANDB_API_KEY", required=False)),
        },
        {
            **STORAGE, "namespace": "lab", "cpu": "64", "memory": "512Gi", "shm": "64Gi", "secret": "tokens",
            "service_account": "trainer", "node_selector": "nvidia.com/gpu.product=H100,zone=a", "exclude": "n3,n4",
            "tolerations": "dedicated=training:NoSchedule,spot", "priority_class": "high", "queue": "team",
            "image_pull_secret": "registry", "ttl_seconds": 3600, "deadline_seconds": 86400, "retries": 3,
            "grace_seconds": 300, "user": "1000:2000", "env": "NCCL_DEBUG=INFO,NCCL_IB_HCA=mlx5",
            "python": "/venv/bin/python",
        },
    ),
    "kubernetes_evaluate_one_node_cpu.yaml": (
        {
            "workload": Workload(), "action": "evaluate", "config_file": "config/evaluate.toml", "distributed": True,
            "config": {"limit": -1},
        },
        {"host_path": "/shared", "restart": "false"},
    ),
    "kubernetes_train_trainjob.yaml": (
        {
            "resources": TWO_NODES,
            "distributed": True,
            "config_file": "config/train.toml",
            "config": {"train": {"epoch": 3}},
            "resume_key": "train.resume",
        },
        {**STORAGE, "resource": "trainjob", "runtime": "torch", "service_account": "trainer", "deadline_seconds": 60},
    ),
}  # fmt: skip


@pytest.fixture(params=GOLDENS)
def golden(request):
    """The name of a golden file, and the plan that renders it."""
    changes, options = GOLDENS[request.param]
    return request.param, make_plan(kubernetes_job(options=options, **changes), "kubernetes")


# --- render -------------------------------------------------------------------------------------------------------


def test_the_rendered_manifests_are_the_golden_ones(golden):
    name, plan = golden
    assert plan.files["manifest.yaml"] == (GOLDEN / name).read_text()
    assert plan.argv[:4] == ("kubectl", "create", "--filename", "/shared/a run/manifest.yaml")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid_for_every_version_that_is_supported(golden, version):
    _, plan = golden
    checked = [found for found in manifests(plan) if found["kind"] != "TrainJob"]
    for manifest in checked:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert checked


def test_names_and_labels_are_what_kubernetes_takes(golden):
    _, plan = golden
    for manifest in manifests(plan):
        assert DNS_LABEL.fullmatch(manifest["metadata"]["name"])
        assert all(LABEL_VALUE.fullmatch(value) for value in manifest["metadata"]["labels"].values())
    config_map = manifests(plan)[0]
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", key) for key in config_map["data"])
    assert config_map["data"]["launch.sh"] == plan.files["launch.sh"]


def test_what_pods_read_is_where_their_script_looks_for_it(golden):
    _, plan = golden
    config_map = manifests(plan)[0]
    volumes = yaml12.parse(re.sub(r"^---\n", "", plan.files["manifest.yaml"].split("---\n")[-1]), "x")
    items = next(found for found in _walk(volumes) if isinstance(found, dict) and "items" in found)["items"]
    assert {item["key"] for item in items} == set(config_map["data"])
    paths = {f"/etc/tao/{item['path']}" for item in items}
    assert set(re.findall(r"/etc/tao/\S+", plan.files["launch.sh"])) <= paths


def _walk(value):
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _walk(child)


def test_a_job_retries_what_the_cluster_did_and_fails_at_once_for_what_the_program_did():
    job = manifests(make_plan(kubernetes_job(options=STORAGE, resources=TWO_NODES, distributed=True), "kubernetes"))[-1]
    spec = job["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    disrupted, failed = spec["podFailurePolicy"]["rules"]
    assert disrupted == {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert failed["action"] == "FailJob"
    assert (failed["onExitCodes"]["operator"], failed["onExitCodes"]["values"]) == ("NotIn", [75, 76])
    assert spec["backoffLimit"] == 2 * kubernetes_options.DEFAULT_RETRIES


def test_results_for_an_object_store_are_uploaded_by_pod_0_while_and_after_it_trains():
    job = kubernetes_job(options=STORAGE, results_uri="s3://lab/runs/one")
    script = make_plan(job, "kubernetes").files["launch.sh"]
    assert "--beside 'python3 -P -m tao_skill_bank.staging.upload '\"'\"'/shared/a run'\"'\"''" in script
    assert script.count("--last") == 1


def test_a_job_of_one_pod_has_no_service_and_meets_nobody():
    plan = make_plan(kubernetes_job(options=STORAGE, distributed=True), "kubernetes")
    assert [manifest["kind"] for manifest in manifests(plan)] == ["ConfigMap", "Job"]
    assert "--host" not in plan.files["launch.sh"]


def test_a_restart_has_a_config_that_resumes_and_the_first_start_has_not():
    config = {"train": {"epoch": 3, "resume": "/shared/other/epoch_1"}}
    job = kubernetes_job(options=STORAGE, config=config, config_file="config/train.toml", resume_key="train.resume")
    files = make_plan(job, "kubernetes").files
    expected = {"train": {"epoch": 3, "resume": True}}
    assert files["config/train.restart.toml"] == config_files.text("x.toml", expected)
    assert "--config /etc/tao/config/train.toml" in files["launch.sh"]


def test_a_secret_is_named_and_never_written(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdefghij")
    job = kubernetes_job(options={**STORAGE, "secret": "tokens"}, credentials=(Credential("HF_TOKEN"),))
    text = make_plan(job, "kubernetes").files["manifest.yaml"]
    assert "hf_0123456789" not in text
    assert {"name": "tokens", "key": "HF_TOKEN", "optional": False} in list(_walk(yaml12.parse_all(text, "x")))


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "My_Lab"),
        ("resource", "pod"),
        ("claim", "a/b"),
        ("host_path", "relative"),
        ("memory", "64 GB"),
        ("cpu", "many"),
        ("node_selector", "zone"),
        ("node_selector", "zone=a b"),
        ("tolerations", "key=value:Never"),
        ("exclude", "n1;n2"),
        ("user", "root"),
        ("env", "NAME"),
        ("restart", "perhaps"),
        ("retries", 1.5),
        ("secret", "a secret"),
        ("python", "-c"),
    ],
)
def test_an_option_that_kubernetes_would_not_understand_is_refused_by_its_name(name, value):
    with pytest.raises(RequestError) as error:
        PLATFORM.probe(kubernetes_job("/run", {name: value}))
    assert f"platform.options.{name}" in [problem.path for problem in error.value.problems]
    assert all(problem.fix for problem in error.value.problems)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"claim": "data"}, "claim_without_path"),
        ({**STORAGE, "host_path": "/shared"}, "two_storages"),
        ({"claim": "data", "claim_path": "/other"}, "results_dir_not_shared"),
        ({**STORAGE, "resource": "trainjob", "retries": 2}, "not_of_trainjob"),
        ({**STORAGE, "env": "MY_TOKEN=abc"}, "secret_in_options"),
        ({**STORAGE, "env": "X=hf_0123456789abcdefghij"}, "secret_in_options"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, code):
    with pytest.raises(RequestError) as error:
        kubernetes_options.of(kubernetes_job(options=options))
    assert [problem.code for problem in error.value.problems] == [code]


def test_all_wrong_options_are_told_together():
    with pytest.raises(RequestError) as error:
        kubernetes_options.of(kubernetes_job(options={**STORAGE, "memory": "much", "cpu": "some", "user": "me"}))
    assert len(error.value.problems) == 3
