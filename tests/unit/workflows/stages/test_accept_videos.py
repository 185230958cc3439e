"""Accepted videos become records with the failed question; every input is in one of two lists."""

import json

import pytest
from generations import write_gaps, write_generation, write_judged

from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import accept_videos, prompts_of_gaps
from tao_skill_bank.workflows.stages.accept_videos import Arguments


def context(tmp_path, name):
    (tmp_path / name).mkdir(exist_ok=True)
    return stage.Context(tmp_path / name, tmp_path, 1, lambda _: None)


@pytest.fixture
def names(tmp_path):
    gaps = prompts_of_gaps.Arguments(str(write_gaps(tmp_path)))
    prompts_of_gaps.run(gaps, context(tmp_path, "prompts"))
    lines = (tmp_path / "prompts" / "inputs.jsonl").read_text().splitlines()
    return [json.loads(line)["id"] for line in lines]


@pytest.fixture
def accepted(tmp_path):
    def run(generation, **arguments):
        given = Arguments(str(generation), str(tmp_path / "prompts" / "inputs.jsonl"), **arguments)
        found = accept_videos.run(given, context(tmp_path, "accepted"))
        assert set(found) == set(accept_videos.OUTPUTS)
        assert all(path.is_file() for path in accept_videos.promised(given, tmp_path / "accepted"))
        assert found["rows"] <= accept_videos.need(given).rows
        rows = {
            name: [
                json.loads(line) for line in (tmp_path / "accepted" / f"{name}_videos.jsonl").read_text().splitlines()
            ]
            for name in ("generated", "failed")
        }
        return found, rows

    return run


def test_without_a_judge_every_generated_video_gets_the_questions_of_its_clip(accepted, names, tmp_path):
    generation = write_generation(tmp_path / "generation", names[:2])
    found, rows = accepted(generation, variant="lora")
    assert (found["accepted"], found["rejected"], found["rows"]) == (2, 0, 3)
    assert [row["id"] for row in rows["generated"]] == names[:2]
    assert rows["failed"] == [{**rows["failed"][0], "id": names[2], "reason": "no video was generated"}]
    records = json.loads((tmp_path / "accepted" / "annotations.json").read_text())
    for record in records:
        _, issues = examine(record, RecordRules(required_fields=("video_fps",)))
        assert not issues
        assert record["video_fps"] == 4
        assert (generation / record["video"]).is_file()
    assert records[0]["conversations"][0]["value"] == "<video>\nLeft or right?"
    assert records[0]["conversations"][1]["value"] == "left"


def test_the_judge_decides_and_the_best_variant_is_taken(accepted, names, tmp_path):
    generation = write_generation(tmp_path / "generation", names)
    scores = {(name, variant): 2.0 for name in names for variant in ("base", "lora")}
    scores |= {(names[0], "lora"): 4.5, (names[1], "base"): 3.0, (names[1], "lora"): None}
    judged = write_judged(tmp_path / "judged", scores)
    found, rows = accepted(generation, judged=str(judged), metric="judge_physics", threshold=3.0)
    assert [(row["id"], row["variant"], row["score"]) for row in rows["generated"]] == [
        (names[0], "lora", 4.5), (names[1], "base", 3.0),
    ]  # fmt: skip
    assert "judge_physics is 2, below 3.0" in rows["failed"][0]["reason"]
    assert (found["accepted"], found["rejected"]) == (2, 2)


def test_when_nothing_is_good_enough_there_are_no_records(accepted, names, tmp_path):
    generation = write_generation(tmp_path / "generation", names)
    judged = write_judged(tmp_path / "judged", dict.fromkeys([(name, "base") for name in names], 1.0))
    found, rows = accepted(generation, judged=str(judged), metric="judge_physics", threshold=3.0, variant="base")
    assert (found["annotations"], found["media"], found["rows"]) == (None, None, 0)
    assert [row["id"] for row in rows["failed"]] == names


def test_a_judge_without_a_threshold_or_with_another_metric_is_refused(accepted, names, tmp_path):
    generation = write_generation(tmp_path / "generation", names)
    judged = str(write_judged(tmp_path / "judged", dict.fromkeys([(name, "base") for name in names], 1.0)))
    with pytest.raises(RequestError, match="smallest score"):
        accepted(generation, judged=judged)
    with pytest.raises(BlockedError, match="has no score 'sampson'") as caught:
        accepted(generation, judged=judged, metric="sampson", threshold=1.0)
    assert "judge_physics" in caught.value.problems[0].fix


def test_a_folder_without_results_is_refused(accepted, names, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BlockedError) as caught:
        accepted(tmp_path / "empty")
    assert caught.value.problems[0].code == "results_unreadable"
