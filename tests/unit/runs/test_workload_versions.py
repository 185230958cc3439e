import copy

import pytest

from tao_skill_bank.contracts import Input, Workload, from_json
from tao_skill_bank.data import kinds
from tao_skill_bank.runs.workload_versions import FORMS, workload_of_version_1

OLD = {
    "model": "builtin://tiny",
    "trains": True,
    "fps": None,
    "num_frames": 93,
    "datasets": [
        {"role": "train", "annotation_path": "/a.json", "media_path": "/m", "conversations_key": "dialog"},
        {"role": "eval", "annotation_path": "/b.json", "media_path": "/m"},
    ],
    "clips": [
        {
            "role": "train",
            "folder": "/c",
            "min_frames": 93,
            "frame_step": 4,
            "nested": True,
            "captions": "csv",
            "caption_key": "prompt",
            "skips_unusable": True,
        }
    ],
    "prompts": "/p.jsonl",
    "media": ["/first.png"],
    "adapters": ["/one", "/two"],
}


def test_every_form_of_version_1_is_an_input_of_a_kind():
    found = from_json(Workload, workload_of_version_1(OLD), "plan.json")
    assert (found.model, found.trains, found.num_frames) == ("builtin://tiny", True, 93)
    assert found.inputs == (
        Input(
            "train",
            "annotations",
            {"annotation_path": "/a.json", "media_path": "/m"},
            {"conversations_key": "dialog"},
        ),
        Input("eval", "annotations", {"annotation_path": "/b.json", "media_path": "/m"}),
        Input(
            "train",
            "captioned_clips",
            {"path": "/c"},
            {
                "min_frames": 93,
                "frame_step": 4,
                "nested": True,
                "captions": "csv",
                "caption_key": "prompt",
                "skips_unusable": True,
            },
        ),
        Input("eval", "prompt_pairs", {"path": "/p.jsonl"}),
        Input("media", "media_file", {"path": "/first.png"}, {"media": "video"}),
        Input("adapter", "adapter", {"path": "/one"}),
        Input("adapter", "adapter", {"path": "/two"}),
    )
    kinds.require(found.inputs, "")


@pytest.mark.parametrize(("sampling", "kind"), [({}, "image"), ({"fps": 2.0}, "video"), ({"num_frames": 8}, "video")])
def test_a_media_file_was_a_video_where_the_run_sampled_frames(sampling, kind):
    old = {"model": "m", "media": ["/x"], **sampling}
    assert workload_of_version_1(old)["inputs"][0]["options"] == {"media": kind}


def test_the_old_document_is_left_as_it_is_and_a_new_one_too():
    before = copy.deepcopy(OLD)
    upgraded = workload_of_version_1(OLD)
    assert before == OLD
    assert not set(FORMS) & set(upgraded)
    assert workload_of_version_1(upgraded) == upgraded
    assert workload_of_version_1({"model": "m"}) == {"model": "m", "inputs": [], "warm_up": None}
