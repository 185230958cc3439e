import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Launch, Plan, PlatformRequest, Request, to_json
from tao_skill_bank.errors import ConflictError, RequestError
from tao_skill_bank.planning import planner, policy
from tao_skill_bank.planning.parents import Inheritance
from tao_skill_bank.spec import build
from tao_skill_bank.weights import model_uri

SKILL = catalog.find("tao-finetune-cosmos-reason")
JOB_ID = "cosmos-rl-train-0123456789ab"


def assemble(
    overrides: dict[str, Any] | None = None,
    parent: Inheritance | None = None,
    *,
    one_machine: bool = False,
    **fields: Any,
) -> Any:
    request = Request(SKILL.name, "train", datasets={"train": "/t", "eval": "/e"}, overrides=overrides or {}, **fields)
    built = build.build(SKILL, request)
    return planner.assemble(SKILL, request, built, parent or Inheritance(), JOB_ID, one_machine=one_machine)


def sealed(**fields: Any) -> Plan:
    job = assemble(**fields)
    request = Request("cosmos-rl", "train")
    drafted = planner.draft(job, request, policy.route(SKILL, request)[0], ())
    return planner.seal(drafted, Launch({"launch.sh": "true\n"}, ("bash", "launch.sh")))


def test_the_results_folder_defaults_to_the_job_id_and_is_bound_in_the_config() -> None:
    job = assemble()
    assert job.results_dir == str(Path("results", JOB_ID).absolute())
    assert job.config["results_dir"] == job.config["train"]["output_dir"] == job.results_dir


def test_an_output_folder_that_the_user_chose_is_the_run_directory() -> None:
    job = assemble({"train.output_dir": "/mine"})
    assert job.results_dir == job.config["results_dir"] == job.config["train"]["output_dir"] == "/mine"
    with pytest.raises(RequestError, match="given more than once"):
        assemble({"train.output_dir": "/mine"}, results_dir="/other")


def test_a_training_knows_the_key_that_goes_on_from_its_newest_checkpoint() -> None:
    assert assemble().resume_key == "train.resume"


def test_replicas_share_one_machine_unless_nodes_are_asked_for() -> None:
    overrides = {"dp_shard_size": 2, "dp_replicate_size": 2}
    shared = assemble(overrides, one_machine=True).resources
    assert (shared.nodes, shared.processes_per_node) == (1, 4)
    asked = assemble({"dp_shard_size": 2}, one_machine=True, platform=PlatformRequest(nodes=2)).resources
    assert (asked.nodes, asked.processes_per_node) == (2, 2)


def test_the_config_holds_local_folders_where_the_spec_holds_model_uris() -> None:
    job = assemble()
    uri = "hf_model://nvidia/Cosmos-Reason2-8B"
    assert job.spec["policy"]["model_name_or_path"] == job.workload.model == uri
    assert job.config["policy"]["model_name_or_path"] == str(model_uri.local_folder(uri))
    assert job.fetches == ((uri, str(model_uri.local_folder(uri))),)


def test_the_rendered_config_is_nested_toml_without_nulls() -> None:
    plan = sealed(overrides={"policy.lora": None, "custom.vision.nframes": 8})
    config = tomllib.loads(plan.files["config/train.toml"])
    assert config == plan.job.config
    assert "lora" not in config["policy"]
    assert "fps" not in config["custom"]["vision"]


@pytest.mark.parametrize(
    ("overrides", "options", "parent", "device"),
    [
        ({}, {}, None, "cuda"),
        ({"policy.model_name_or_path": "builtin://tiny-cosmos-reason"}, {}, None, "cpu"),
        ({"policy.model_name_or_path": "builtin://tiny-cosmos-reason"}, {"device": "cuda"}, None, "cuda"),
        ({}, {"device": "cpu"}, None, "cpu"),
        ({}, {}, Inheritance(device="cpu"), "cpu"),
    ],
)
def test_cpu_is_used_for_builtin_models_or_when_asked_for_and_is_never_a_fallback(
    overrides: dict[str, Any], options: dict[str, Any], parent: Inheritance | None, device: str
) -> None:
    job = assemble(overrides, parent, platform=PlatformRequest(options=options))
    assert job.resources.device == device


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(RequestError, match="expected one of cpu, cuda"):
        assemble(platform=PlatformRequest(options={"device": "tpu"}))


def test_the_plan_carries_the_metric_and_direction_of_the_skill() -> None:
    assert assemble().metric == SKILL.info.monitoring_metric


@pytest.fixture
def no_cpu(third_skill: Path) -> Path:
    """Return the facts of a skill whose training does not permit a CPU."""
    facts = third_skill / "skills" / "tao-finetune-toy" / "references" / "skill_info.yaml"
    facts.write_text(facts.read_text().replace("{distributed: false}", "{distributed: false, cpu: false}"))
    return facts


def toy_device(**options: str) -> str:
    skill = catalog.find("toy")
    request = Request(skill.name, "train", platform=PlatformRequest(options=dict(options)))
    built = build.build(skill, request)
    job = planner.assemble(skill, request, built, Inheritance(), JOB_ID, one_machine=True)
    return job.resources.device


def test_a_cpu_is_refused_where_the_skill_does_not_permit_it(no_cpu: Path) -> None:
    with pytest.raises(RequestError) as caught:
        toy_device(device="cpu")
    (problem,) = caught.value.problems
    assert (caught.value.exit_code, problem.code) == (2, "device_not_permitted")
    assert str(no_cpu) in problem.fix


@pytest.mark.usefixtures("no_cpu")
def test_what_does_not_permit_a_cpu_runs_on_a_gpu() -> None:
    assert toy_device() == "cuda"


@pytest.mark.usefixtures("third_skill")
def test_an_action_that_loads_no_model_needs_no_gpu() -> None:
    assert toy_device() == "cpu"


def test_permission_alone_selects_no_cpu() -> None:
    assert SKILL.action("train").resources.cpu is True
    assert assemble().resources.device == "cuda"


def test_processes_follow_the_specs_own_keys() -> None:
    resources = assemble({"dp_shard_size": 4, "dp_replicate_size": 2}).resources
    assert (resources.nodes, resources.processes_per_node, resources.world_size) == (2, 4, 8)


def test_a_plan_survives_a_file_and_an_edit_of_any_field_is_refused(tmp_path: Path) -> None:
    plan = sealed()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(to_json(plan)))
    assert planner.read(path) == plan
    edited = to_json(plan)
    edited["files"]["launch.sh"] = "rm -rf /\n"
    path.write_text(json.dumps(edited))
    with pytest.raises(ConflictError, match="edited after it was sealed") as caught:
        planner.read(path)
    assert caught.value.exit_code == 7


def test_the_hash_covers_every_field() -> None:
    plan = sealed()
    changes = [
        {"job": replace(plan.job, results_dir="/other")},
        {"route": replace(plan.route, reason="other")},
        {"argv": ("true",)},
        {"files": {}},
        {"request": replace(plan.request, prompt="other")},
    ]
    assert len({planner.digest(replace(plan, **change)) for change in changes} | {plan.sha256}) == len(changes) + 1


def test_an_alias_in_the_request_is_sealed_as_the_skills_name() -> None:
    assert sealed().request.skill == SKILL.name


def test_a_file_that_is_no_plan_is_a_request_error(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"job": 1}')
    with pytest.raises(RequestError):
        planner.read(path)
