"""Badly scored prompts become training targets, where a real clip shows what was asked for."""

import json

import pytest
from report_runs import make_clip

from tao_skill_bank.data import clip_folders
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import low_scores
from tao_skill_bank.workflows.stages.low_scores import Arguments


@pytest.fixture
def found(tmp_path):
    (tmp_path / "judged").mkdir()
    scores = {("a", "base"): 4.5, ("b", "base"): 2.0, ("c", "base"): None, ("d", "base"): 1.0, ("a", "lora"): 1.0}
    entries = [
        {"name": name, "variant": variant, "seed": 0, "prompt": f"prompt {name}", "judge_physics": {"mean": score}}
        for (name, variant), score in scores.items()
    ]
    (tmp_path / "judged" / "results.json").write_text(json.dumps(entries))
    for name in "abc":
        make_clip(tmp_path / "real" / f"{name}.mp4", step=1)

    def run(**arguments):
        given = {"judged": str(tmp_path / "judged"), "clips": str(tmp_path / "real"), "metric": "judge_physics"}
        folder = tmp_path / "stage"
        folder.mkdir(exist_ok=True)
        given = Arguments(**{**given, "threshold": 3.0, "variant": "base", **arguments})
        outputs = low_scores.run(given, stage.Context(folder, tmp_path, 1, lambda _: None))
        assert set(outputs) == set(low_scores.OUTPUTS)
        assert all(path.is_file() for path in low_scores.promised(given, folder))
        return outputs

    return run


def test_bad_and_missing_scores_with_a_real_clip_make_a_dataset(found, tmp_path):
    outputs = found()
    assert (outputs["count"], outputs["rows"], outputs["mean"]) == (3, 2, 2.5)
    folder = clip_folders.read(tmp_path / "stage" / "clips")
    assert sorted((clip.video.stem, clip.caption) for clip in folder.clips) == [("b", "prompt b"), ("c", "prompt c")]
    lines = [json.loads(line) for line in (tmp_path / "stage" / "low_scores.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines if line["clip"] is None] == ["d"]


def test_where_lower_is_better_high_scores_are_bad(found):
    assert found(higher_is_better=False, threshold=4.0)["count"] == 2  # a, and c without a score


def test_without_a_variant_the_videos_of_all_count(found):
    assert found(variant=None)["count"] == 4


def test_good_scores_leave_nothing_to_train_on(found):
    outputs = found(variant="lora", threshold=0.5)
    assert (outputs["clips"], outputs["count"], outputs["rows"]) == (None, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "code"), [({"variant": "dora"}, "variant_missing"), ({"metric": "sampson"}, "metric_missing")]
)
def test_what_was_not_scored_is_refused(found, arguments, code):
    with pytest.raises(BlockedError) as caught:
        found(**arguments)
    assert caught.value.problems[0].code == code
