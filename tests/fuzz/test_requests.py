"""Hostile requests, --set values, request files and platform options: a typed error or a valid spec."""

import json

import pytest
from hostile_input import TEXT, VALUES, changed, content, guarded, inputs, put
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import make_job, make_plan

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.cli import door, request_options
from tao_skill_bank.contracts import PlatformRequest, Request, from_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.planning import gate, parents, planner, policy
from tao_skill_bank.platforms import base
from tao_skill_bank.spec import build
from tao_skill_bank.spec import door as request_door

profile = settings.get_profile("hostile")
SKILLS = ("tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict")
ACTIONS = {name: tuple(catalog.find(name).info.actions) for name in SKILLS}
LEAVES = {
    (name, action): [path for path, _ in schemas.leaves(catalog.find(name).schema(action))]
    for name, actions in ACTIONS.items()
    for action in actions
}
REQUEST = {
    "skill": SKILLS[0],
    "action": "train",
    "prompt": "Train it.",
    "automl_policy": "off",
    "datasets": {"train": "/data/train", "eval": {"annotation_path": "/data/a.json", "media_path": "/data/m"}},
    "overrides": {"train": {"epoch": 2, "optm_lr": 1e-5}, "custom.system_prompt": "Be brief."},
    "platform": {"name": "slurm", "gpus": 1, "nodes": 1, "options": {"partition": "gpu", "time_limit": "1:00:00"}},
    "results_dir": "/results/run",
    "parent_job_id": None,
    "checkpoint": None,
    "image": "registry/image:1",
    "automl": {"max_trials": 3, "ranges": {"train.optm_lr": {"minimum": 1e-6, "maximum": 1e-4}}},
}


def built(request):
    """Take a request as far as `validate` does, and further to the job that a plan holds."""
    skill = catalog.find(request.skill)
    spec = build.build(skill, request, parents.inherit(skill, request).values)
    platform = base.load(request.platform.name)
    gate.require_known_options(request, platform)
    policy.route(skill, request)
    return planner.assemble(
        skill, request, spec, parents.Inheritance(), "cosmos-rl-train-0123456789ab", one_machine=True
    )


@settings(profile, max_examples=inputs(0.2))
@given(document=changed(REQUEST))
def test_a_request_file_is_refused_with_a_fix_or_understood(document, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "request.json"
    path.write_text(json.dumps(document))
    with guarded():
        built(request_options.to_request(request_options.Options(None, None, path)))


@settings(profile, max_examples=inputs(0.05))
@given(data=content(REQUEST))
def test_a_damaged_request_file_is_refused_with_a_fix(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    put(path, data)
    with guarded():
        built(request_options.to_request(request_options.Options(None, None, path)))


@settings(profile, max_examples=inputs(0.15))
@given(data=st.data())
def test_any_value_of_any_spec_key_is_refused_with_a_fix_or_valid(data):
    name, action = data.draw(st.sampled_from(sorted(LEAVES)))
    path = data.draw(st.sampled_from(LEAVES[name, action]) | TEXT)
    text = data.draw(TEXT | VALUES.map(json.dumps))
    options = {"sets": [f"{path}={text}"], "skill": name, "action": action, "results_dir": data.draw(TEXT)}
    with guarded():
        door.require_plain(options)
        built(request_options.to_request(request_options.gather(options)))


@settings(profile, max_examples=inputs(0.1))
@given(
    name=st.sampled_from(("say", "train", "results_dir", "parent", "checkpoint", "image", "platform", "skill")),
    text=TEXT,
)
def test_any_text_of_any_argument_is_refused_with_a_fix_or_understood(name, text):
    options = {"skill": SKILLS[0], "action": "train", "train": "/data", "eval_": "/data", name: text}
    with guarded():
        door.require_plain(options)
        built(request_options.to_request(request_options.gather(options)))


@settings(profile, max_examples=inputs(0.1))
@given(text=TEXT | st.text(alphabet="[]{}:,&*!#|>-?'\"%@` \n\ta1.e<\\", max_size=60))
def test_any_yaml_is_refused_with_a_fix_or_read(text):
    with guarded():
        json.dumps(yaml12.parse_value(text, "--set x"))


@pytest.mark.parametrize("name", base.names())
@settings(profile, max_examples=inputs(0.05))
@given(data=st.data())
def test_any_platform_option_is_refused_with_a_fix_or_rendered(name, data):
    platform = base.load(name)
    known = ("device", *platform.text_options, *platform.number_options)
    options = {data.draw(st.sampled_from(known)): data.draw(VALUES) for _ in range(data.draw(st.integers(1, 3)))}
    document = {**REQUEST, "platform": {"name": name, "options": options}}
    with guarded():
        request = from_json(Request, json.loads(json.dumps(document)), "request")
        request_door.require_plain(request)
        gate.require_known_options(request, platform)
        make_plan(make_job("/run", image="registry/image:1", platform=PlatformRequest(name, options=options)), name)
