import json
from dataclasses import replace
from typing import Any

import pytest

from tao_skill_bank import platforms
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Launch, Plan, PlatformRequest, Request, to_json
from tao_skill_bank.core import nested
from tao_skill_bank.errors import ConflictError, RequestError
from tao_skill_bank.planning import dispatch, planner, policy, reviewed
from tao_skill_bank.planning.parents import Inheritance
from tao_skill_bank.spec import build, config_files

JOB_ID = "some-job-0123456789ab"
TEXTS = (
    "1e5",
    "0x10",
    "off",
    "12:30",
    "2024-01-01",
    "~",
    "a\x85b",
    "a\u2028b",
    "é\n\tb",
    '"\\',
    "'''",
    "|-",
    "1_000",
    "",
)


def _plan(skill_name: str, action: str, **fields: Any) -> Plan:
    skill = catalog.find(skill_name)
    request = Request(skill.name, action, **fields)
    job = planner.assemble(skill, request, build.build(skill, request), Inheritance(), JOB_ID, one_machine=True)
    drafted = planner.draft(job, request, policy.route(skill, request)[0], ())
    return planner.seal(drafted, Launch({}, ("true",)))


@pytest.fixture
def plan() -> Plan:
    remote = {"train": "s3://bucket/train", "eval": "/e"}
    return _plan("tao-finetune-cosmos-reason", "train", datasets=remote, overrides={"train.resume": "s3://bucket/run"})


def _resealed(plan: Plan) -> Plan:
    return replace(plan, sha256=planner.digest(replace(plan, sha256="")))


def test_a_config_that_names_staged_inputs_and_models_of_the_hub_is_what_the_plan_shows(plan):
    reviewed.require_same_config(plan)


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_read_back_as_it_was_reviewed(plan, text):
    for name in ("config/train.toml", "config/train.yaml"):
        config = nested.with_value(plan.job.config, "custom.system_prompt", text)
        spec = nested.with_value(plan.job.spec, "custom.system_prompt", text)
        job = replace(plan.job, config=config, spec=spec, config_file=name)
        reviewed.require_same_config(replace(plan, job=job, files={name: config_files.text(name, config)}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.epoch", 7),
        ("train.epoch", 1.0),
        ("train.seed", True),
        ("train.optm_lr", 1e22),
        ("custom.system_prompt", "another"),
        ("policy.model_name_or_path", "/another/model"),
        ("custom.train_dataset.annotation_path", "/another/train.json"),
        ("policy.lora.modules_to_save", ["one", "more"]),
        ("train.new_key", 1),
        ("train.epoch", None),
    ],
)
def test_a_config_that_differs_from_the_plan_is_not_run_and_the_key_is_named(plan, path, value):
    config = nested.without_nulls(nested.with_value(plan.job.config, path, value))
    name = plan.job.config_file
    in_file = _resealed(replace(plan, files={**plan.files, name: config_files.text(name, config)}))
    in_both = _resealed(replace(in_file, job=replace(plan.job, config=config)))
    for edited in (in_file, in_both):
        with pytest.raises(ConflictError, match="does not hold what the plan shows") as caught:
            dispatch.run(edited)
        assert caught.value.problems[0].path.startswith(path)


def test_a_config_for_restarts_differs_only_in_the_key_that_resumes(plan):
    key, name = plan.job.resume_key, "config/train.restart.toml"
    assert key is not None
    resumed = nested.with_value(plan.job.config, key, True)
    held = replace(plan, files={**plan.files, name: config_files.text(name, resumed)})
    reviewed.require_same_config(held)
    other = config_files.text(name, nested.with_value(resumed, "train.epoch", 99))
    with pytest.raises(ConflictError, match=r"train\.epoch is 99"):
        reviewed.require_same_config(replace(plan, files={**plan.files, name: other}))


def test_a_manifest_holds_the_config_that_was_reviewed(plan):
    on_cluster = replace(plan.job, platform=PlatformRequest("kubernetes"), image="registry/tao:1")
    files = platforms.load("kubernetes").render(replace(plan, job=on_cluster)).files
    (name,) = (name for name in files if name.endswith(".yaml"))
    held = replace(plan, job=on_cluster, files={**plan.files, **files})
    reviewed.require_same_config(held)
    edited = files[name].replace("epoch = 10", "epoch = 11")
    assert edited != files[name]
    with pytest.raises(ConflictError, match=r"holds another train\.toml"):
        reviewed.require_same_config(replace(held, files={**held.files, name: edited}))


@pytest.mark.parametrize("text", ["", "a = [", "= 1"])
def test_a_config_that_cannot_be_parsed_is_not_run(plan, text):
    with pytest.raises(ConflictError, match="does not hold what the plan shows"):
        reviewed.require_same_config(replace(plan, files={plan.job.config_file: text}))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN"])
def test_a_sealed_plan_whose_null_was_replaced_by_a_number_that_is_not_finite_is_refused(tmp_path, plan, number):
    sealed = _resealed(replace(plan, request=replace(plan.request, overrides={"train.epoch": None})))
    text = json.dumps(to_json(sealed))
    file = tmp_path / "plan.json"
    file.write_text(text)
    assert planner.read(file).sha256 == sealed.sha256
    assert text.count('"train.epoch": null') == 1
    file.write_text(text.replace('"train.epoch": null', f'"train.epoch": {number}'))
    with pytest.raises(RequestError, match="not finite") as caught:
        planner.read(file)
    assert caught.value.problems[0].path == "request.overrides.train.epoch"


def test_a_plan_in_memory_that_holds_infinity_is_not_run(plan):
    spec = nested.with_value(plan.job.spec, "train.optm_lr", float("inf"))
    edited = replace(plan, job=replace(plan.job, spec=spec))
    with pytest.raises(RequestError, match="not finite"):
        dispatch.run(_resealed(edited))
