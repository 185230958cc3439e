"""Rules over several fields, in the pass that also checks the schema: what is wrong, and the nearest right value."""

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build

SKILL = catalog.find("tao-finetune-cosmos-predict")


def problems(action, overrides, datasets=None):
    """Return the problems of a request by code; none when it is accepted."""
    wanted = datasets if datasets is not None else {"train": "/t", "eval": "/e"} if action == "train" else {}
    request = Request(SKILL.name, action, datasets=wanted, overrides=overrides)
    try:
        build.build(SKILL, request)
    except RequestError as error:
        return {problem.code: problem for problem in error.problems}
    return {}


def test_the_defaults_break_no_rule():
    assert problems("train", {}) == {}


@pytest.mark.parametrize(
    ("action", "path"), [("train", "dataset.height"), ("train", "dataset.width"), ("generate", "height")]
)
def test_a_size_that_is_no_multiple_of_16_names_both_neighbours(action, path):
    given = {"prompt": "Move."} if action == "generate" else {}
    found = problems(action, given | {path: 425})
    assert list(found) == ["size_not_a_multiple"]
    problem = found["size_not_a_multiple"]
    assert (problem.path, problem.got, problem.fix) == (path, 425, f"Set {path} to 416 or 432.")


@pytest.mark.parametrize(("frames", "nearest"), [(90, "89 or 93"), (92, "89 or 93"), (94, "93 or 97"), (4, "1 or 5")])
@pytest.mark.parametrize(("action", "path"), [("train", "dataset.num_frames"), ("generate", "num_frames")])
def test_frames_that_are_not_4k_plus_1_name_both_neighbours(action, path, frames, nearest):
    given = {"prompt": "Move."} if action == "generate" else {}
    found = problems(action, given | {path: frames})
    assert found["frames_not_4k_plus_1"].fix == f"Set {path} to {nearest}."
    assert found["frames_not_4k_plus_1"].path == path


def test_all_broken_rules_are_told_at_once():
    found = problems(
        "train", {"dataset.height": 100, "dataset.num_frames": 92, "flow.conditional_frames_probs": {"1": 0.2}}
    )
    assert set(found) == {"size_not_a_multiple", "frames_not_4k_plus_1", "probabilities_off"}


@pytest.mark.parametrize(
    ("probabilities", "accepted"),
    [
        ({"1": 0.5, "2": 0.5}, True),
        ({"0": 0.333, "1": 0.333, "2": 0.334}, True),
        ({"0": 0.33, "1": 0.33, "2": 0.33}, True),  # rounded
        ({"1": 1.0}, True),
        ({"1": 0.5, "2": 0.4}, False),
        ({"1": 1.0, "2": 0.5}, False),
        ({"0": 0.0}, False),
    ],
)
def test_probabilities_sum_to_one(probabilities, accepted):
    found = problems("train", {"flow.conditional_frames_probs": probabilities})
    assert list(found) == ([] if accepted else ["probabilities_off"])


@pytest.mark.parametrize(("frames", "probabilities"), [(5, {"1": 0.5, "2": 0.5}), (1, {"1": 1.0})])
def test_a_clip_must_leave_frames_to_predict(frames, probabilities):
    overrides = {"dataset.num_frames": frames, "flow.conditional_frames_probs": probabilities}
    found = problems("train", overrides)
    assert found["nothing_to_predict"].fix == f"Set dataset.num_frames to {4 * len(probabilities) + 1} or more."
    assert problems("train", overrides | {"dataset.num_frames": frames + 4}) == {}
    assert problems("train", {"dataset.num_frames": 1, "flow.conditional_frames_probs": {"0": 1.0, "2": 0.0}}) == {}


def test_validation_needs_clips():
    found = problems("train", {}, {"train": "/t"})
    assert "--eval PATH" in found["missing_validation_data"].fix
    for overrides in ({"dataset.test_size": 0.1}, {"dataset.test_size": 3}, {"validation.enable": False}):
        assert problems("train", overrides, {"train": "/t"}) == {}
    found = problems("train", {"validation.enable": False, "validation.sample_videos": 2})
    assert list(found) == ["samples_without_validation"]


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"image": "/a.png", "video": "/a.mp4", "prompt": "Move."}, "image_and_video"),
        ({"image": "/a.png", "inputs": "/pairs"}, "condition_without_prompt"),
        ({"prompt": "Move.", "include_base": False}, "no_variant"),
    ],
)
def test_what_a_video_is_made_from_fits_together(overrides, code):
    assert list(problems("generate", overrides)) == [code]


def test_adapters_have_names_of_their_own():
    def named(*names):
        return {"prompt": "Move.", "adapters": [{"path": f"/{name}", "name": name} for name in names]}

    assert problems("generate", named("lora", "dora")) == {}
    assert problems("generate", named("lora", "lora"))["adapter_names"].got == ["lora", "lora"]
    assert list(problems("generate", named("base"))) == ["adapter_names"]
    assert "adapter_names" not in problems("generate", named("../up"))  # the schema refuses it


@pytest.mark.parametrize(
    ("overrides", "code", "fix"),
    [
        ({}, "no_judge", "judge.endpoint=URL"),
        ({"judge.model": "builtin://tiny-cosmos-reason", "judge.endpoint": "http://h/v1"}, "no_judge", "Keep one of"),
        ({"judge.endpoint": "http://h/v1"}, "no_endpoint_model", "judge.endpoint_model"),
        ({"judge.endpoint": "h:8000", "judge.endpoint_model": "m"}, "invalid_url", "http://HOST:PORT/v1"),
        ({"judge.model": "builtin://tiny-cosmos-reason"}, None, ""),
        ({"judge.endpoint": "http://h/v1", "judge.endpoint_model": "m"}, None, ""),
        ({"metrics": ["sampson"]}, None, ""),
    ],
)
def test_a_judge_is_named_once_and_completely(overrides, code, fix):
    found = problems("evaluate", {"generated_dir": "/g"} | overrides)
    assert list(found) == ([code] if code else [])
    if code:
        assert fix in found[code].fix
