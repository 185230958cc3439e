"""The wrong answers of an evaluation become the input of a mining, and none are a result."""

import json

import pytest

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import gaps

parquet = pytest.importorskip("pyarrow.parquet")


def found(tmp_path, answers, **arguments):
    folder, run = tmp_path / "stage", tmp_path / "run"
    folder.mkdir(exist_ok=True)
    run.mkdir(exist_ok=True)
    entries = [
        {"video_id": f"{number}.mp4", "question": "Bus?", "response": said, "gt": "yes", "verdict": verdict}
        for number, (said, verdict) in enumerate(answers)
    ]
    (run / "results.json").write_text(json.dumps(entries))
    said = []
    given = stage.arguments_of(gaps, {"results": str(run), "media": str(tmp_path), **arguments}, "arguments")
    outputs = gaps.run(given, stage.Context(folder, tmp_path, 1, said.append))
    assert set(outputs) == set(gaps.OUTPUTS)
    assert all(path.is_file() for path in gaps.promised(given, folder))
    assert json.loads(json.dumps(outputs)) == outputs
    return outputs, said


def test_gaps_are_counted_and_written_for_mining(tmp_path):
    outputs, said = found(tmp_path, [("no", "wrong"), ("yes", "right"), ("Yes, a bus", "right"), ("yes", "right")])
    assert (outputs["count"], outputs["answers"], outputs["accuracy"], outputs["differ"]) == (2, 4, 0.5, 1)
    assert outputs["error_types"] == {"FN": 1, "wording": 1}
    names = [str(tmp_path / "0.mp4"), str(tmp_path / "2.mp4")]
    assert parquet.read_table(outputs["gaps"])["video_id"].to_pylist() == names
    assert said[-1] == "2 gaps in 4 answers"


def test_no_gaps_are_a_result(tmp_path):
    outputs, _ = found(tmp_path, [("Yes, a bus", "right")], match="evaluation")
    assert (outputs["count"], outputs["accuracy"]) == (0, 1.0)
    assert parquet.read_table(outputs["gaps"]).num_rows == 0


def test_what_cannot_be_analysed_fails_the_stage(tmp_path):
    with pytest.raises(BlockedError, match="does not exist"):
        found(tmp_path, [("no", "wrong")], annotations=str(tmp_path / "gone.json"))
    with pytest.raises(RequestError):
        found(tmp_path, [("no", "wrong")], match="fuzzy")
