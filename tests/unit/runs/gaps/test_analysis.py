"""Gaps are the wrong answers of results of any size, with the record, the path and the error of each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.runs import gaps

parquet = pytest.importorskip("pyarrow.parquet")

RECORD = {
    "id": "clip-7",
    "video": "videos/7.mp4",
    "conversations": [{"from": "human", "value": "Which way?"}, {"from": "gpt", "value": "left"}],
}


def evaluation(folder: Path, version: int) -> Path:
    """Write a run directory with one wrong answer; return it."""
    run, data = folder / "run", folder / "data"
    run.mkdir()
    data.mkdir()
    (data / "annotations.json").write_text(json.dumps([RECORD]))
    paths = {"annotation_path": str(data / "annotations.json"), "media_path": str(data)}
    workload = {
        1: {"datasets": [{"role": "train", "annotation_path": "/no", "media_path": "/no"}, {"role": "eval", **paths}]},
        2: {"inputs": [{"role": "eval", "kind": "annotations", "paths": paths, "options": {}}]},
    }[version]
    (run / "plan.json").write_text(json.dumps({"schema_version": version, "job": {"workload": workload}}))
    entry = {"video_id": RECORD["video"], "question": "Which way?", "gt": "left", "response": "right"}
    (run / "results.json").write_text(json.dumps([entry, {**entry, "response": "Left "}]))
    return run


@pytest.mark.parametrize("version", [1, 2])
def test_a_gap_has_the_id_of_its_record_and_the_path_of_its_media(version: int, tmp_path: Path) -> None:
    found = gaps.analyze(evaluation(tmp_path, version), tmp_path / "gaps.parquet")
    (row,) = parquet.read_table(found.parquet).to_pylist()
    assert row["record_id"] == "clip-7"
    assert row["video_id"] == str(tmp_path / "data" / "videos" / "7.mp4")
    assert (found.records, found.gaps) == (2, 1)


def entry(video: str, question: str, response: str, gt: str, **fields: object) -> dict[str, Any]:
    return {"video_id": video, "question": question, "response": response, "gt": gt, **fields}


def record(identity: str, video: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    turns = [
        turn
        for question, answer in pairs
        for turn in ({"from": "human", "value": question}, {"from": "gpt", "value": answer})
    ]
    turns[0]["value"] = f"<video>\n{turns[0]['value']}"
    return {"id": identity, "video": video, "video_fps": 4, "conversations": turns}


@pytest.fixture
def analyzed(tmp_path: Path):
    """Analyse entries, with the records as given annotations; return the report and the rows."""

    def run(
        entries: object, records: Sequence[Mapping[str, Any]] = (), **options: Any
    ) -> tuple[gaps.GapReport, list[dict[str, Any]]]:
        (tmp_path / "results.json").write_text(json.dumps(entries, indent=1))
        if records:
            options["annotation"] = tmp_path / "annotations.json"
            options["annotation"].write_text(json.dumps(list(records)))
        report = gaps.analyze(tmp_path, tmp_path / "gaps.parquet", **options)
        return report, parquet.read_table(report.parquet).to_pylist()

    return run


def code_of(error: pytest.ExceptionInfo[Any]) -> str:
    return error.value.problems[0].code


def test_the_columns_begin_with_those_of_the_contract(analyzed) -> None:
    report, _ = analyzed([entry("/a.mp4", "Which way?", "left", "right")])
    names = parquet.read_table(report.parquet).column_names
    assert names[:3] == ["video_id", "question", "ground_truth"]
    assert tuple(names) == gaps.COLUMNS


def test_yes_no_errors_have_their_type_by_truth_and_what_was_read(analyzed, tmp_path: Path) -> None:
    report, rows = analyzed(
        [
            entry("/1.mp4", "Q?", "Yes", "no", verdict="wrong", read_as="yes"),
            entry("/2.mp4", "Q?", "no.", "Yes", verdict="wrong", read_as="no", confidence=0.75),
            entry("/3.mp4", "Q?", "Maybe", "yes", verdict="unparseable", read_as=None),
            entry("/4.mp4", "Q?", "<think>so", "no", verdict="cut", read_as=None, hit_max_tokens=True),
            entry("/5.mp4", "Q?", "Yes, it does", "yes", verdict="right", read_as="yes"),
            entry("/6.mp4", "Q?", " YES ", "yes", verdict="right", read_as="yes"),
        ],
        kpi_gaps=tmp_path / "kpi.jsonl",
    )
    assert [(row["error_type"], row["parsed_answer"]) for row in rows] == [
        ("FP", "yes"), ("FN", "no"), ("unparseable", None), ("cut", None), ("wording", "yes"),
    ]  # fmt: skip
    assert [row["confidence"] for row in rows[:2]] == [None, 0.75]
    assert (report.records, report.gaps, report.differ) == (6, 5, 1)
    lines = [json.loads(line) for line in (tmp_path / "kpi.jsonl").read_text().splitlines()]
    assert [line["error_type"] for line in lines] == ["FP", "FN", "FN", "FP", "FN"]
    assert list(lines[0]) == ["video_id", "error_type", "question", "ground_truth", "response"]


def test_the_rule_of_the_evaluation_takes_its_verdicts_and_the_difference_is_counted(analyzed) -> None:
    entries = [
        entry("/1.mp4", "Which way?", "It turns left.", "left", verdict="right", read_as="left"),
        entry("/2.mp4", "Which way?", "right", "left", verdict="wrong", read_as="right"),
    ]
    exact, _ = analyzed(entries)
    judged, rows = analyzed(entries, match="evaluation")
    assert (exact.gaps, judged.gaps, exact.differ, judged.differ) == (2, 1, 1, 1)
    assert judged.accuracy == 0.5
    assert rows[0]["video_id"] == "/2.mp4"
    assert "matches_differ" in {found.code for found in judged.findings}


def test_results_without_verdicts_are_compared_exactly_alone(analyzed) -> None:
    entries = [entry("/1.mp4", "Q?", "It turns left.", "right"), entry("/2.mp4", "Q?", "left", "left")]
    report, rows = analyzed(entries)
    assert (rows[0]["error_type"], rows[0]["parsed_answer"], report.differ) == ("wrong_class", "left", None)
    with pytest.raises(BlockedError) as error:
        analyzed(entries, match="evaluation")
    assert code_of(error) == "verdicts_missing"
    with pytest.raises(RequestError, match="no rule 'fuzzy'"):
        analyzed(entries, match="fuzzy")


def test_results_of_the_public_evaluator_in_an_envelope_are_read(analyzed) -> None:
    report, _ = analyzed({"kind": "answers", "entries": [entry("/1.mp4", "Q?", "no", "yes")]})
    assert report.gaps == 1


def test_answers_join_with_records_by_video_and_question_never_by_video_alone(analyzed, tmp_path: Path) -> None:
    records = [
        record("a", "v/1.mp4", ("Red car?\nAnswer with yes or no.", "yes"), ("Blue car?", "no")),
        record("b", "v/1.mp4", ("Bus?", "yes")),
    ]
    report, rows = analyzed(
        [
            entry("v/1.mp4", "<video> Bus? Answer with Yes or No", "no", "yes"),
            entry(str(tmp_path / "v" / "1.mp4"), "Red car?", "no", "yes"),
            entry("v/1.mp4", "Blue  car?", "yes", "no", id="own"),
            entry("v/1.mp4", "Bicycle?", "yes", "no", id="own"),
        ],
        records,
    )
    assert [row["record_id"] for row in rows] == ["b", "a", "a", "own"]
    assert {row["video_id"] for row in rows} == {str(tmp_path / "v" / "1.mp4")}
    assert report.unmatched == 1
    (found,) = [each for each in report.findings if each.code == "answers_unmatched"]
    assert "Bicycle?" in found.message


def test_results_that_name_records_are_resolved_to_the_paths_of_their_videos(analyzed, tmp_path: Path) -> None:
    records = [record("17", "v/a.mp4", ("Bus?", "yes")), record("18", "v/b.mp4", ("Bus?", "yes"))]
    _, rows = analyzed([entry(18, "Bus?", "no", "yes")], records)
    assert (rows[0]["video_id"], rows[0]["record_id"]) == (str(tmp_path / "v" / "b.mp4"), "18")


def test_given_annotations_that_fit_no_answer_are_refused(analyzed, tmp_path: Path) -> None:
    with pytest.raises(BlockedError) as error:
        analyzed([entry("v/2.mp4", "Bus?", "no", "yes")], [record("a", "v/1.mp4", ("Bus?", "yes"))])
    assert code_of(error) == "answers_unmatched"
    assert "--media" in error.value.problems[0].fix
    assert [path.name for path in tmp_path.iterdir()] == ["results.json", "annotations.json"]


def test_annotations_of_the_plan_that_are_gone_are_a_finding(tmp_path: Path) -> None:
    run = evaluation(tmp_path, 2)
    (tmp_path / "data" / "annotations.json").unlink()
    report = gaps.analyze(run, tmp_path / "gaps.parquet")
    assert [found.code for found in report.findings] == ["annotations_unread"]
    assert report.unmatched is None


def test_clusters_are_numbered_by_size_and_a_single_gap_has_none(analyzed) -> None:
    pair = [entry(f"/{number}.mp4", "Bus?", "no", "yes") for number in range(2)]
    triple = [entry(f"/{number}.mp4", "<video>\nCar?", "Yes", "no") for number in range(3)]
    report, rows = analyzed([*pair, *triple, entry("/9.mp4", "Van?", "no", "yes")])
    assert [row["cluster"] for row in rows] == [2, 2, 1, 1, 1, None]
    assert [(each.cluster, each.gaps, each.question) for each in report.clusters] == [(1, 3, "Car?"), (2, 2, "Bus?")]


def test_no_gaps_are_a_result_and_no_answers_are_not(analyzed) -> None:
    report, rows = analyzed([entry("/1.mp4", "Q?", "Left", "left")])
    assert (report.gaps, report.accuracy, rows) == (0, 1.0, [])
    with pytest.raises(BlockedError, match="no answers"):
        analyzed([])


@pytest.mark.parametrize("truth", [None, "", " "])
def test_results_without_truth_are_refused(analyzed, truth: str | None) -> None:
    with pytest.raises(BlockedError) as error:
        analyzed([entry("/1.mp4", "Q?", "left", "left"), entry("/1.mp4", "Q?", "left", truth)])
    assert code_of(error) == "truth_missing"


@pytest.mark.parametrize("broken", [3, {}, {"video_id": 1.5}, {"response": None}, {"question": ["a"]}, {"gt": 3}])
def test_a_malformed_entry_is_named(analyzed, broken: object) -> None:
    whole = entry("/1.mp4", "Q?", "left", "left")
    bad = {**whole, **broken} if isinstance(broken, dict) and broken else broken
    with pytest.raises(BlockedError, match="entry 1"):
        analyzed([whole, bad])


def test_long_answers_where_short_ones_are_expected_are_a_warning(analyzed) -> None:
    report, _ = analyzed([entry("/1.mp4", "Q?", "It is turning to the left.", "left")])
    assert "unconstrained" in report.warnings[0]


def test_videos_in_an_archive_have_no_path_and_that_is_a_warning(analyzed, tmp_path: Path) -> None:
    (tmp_path / "videos.tar.gz").touch()
    report, rows = analyzed([entry("v/1.mp4", "Bus?", "no", "yes")], [record("a", "v/1.mp4", ("Bus?", "yes"))])
    assert (rows[0]["video_id"], rows[0]["record_id"]) == ("v/1.mp4", "a")
    assert [found.code for found in report.findings] == ["videos_relative"]


def test_half_a_character_is_replaced_in_the_files(analyzed, tmp_path: Path) -> None:
    _, rows = analyzed([entry("/1.mp4", "Q?", "\ud800", "left")], kpi_gaps=tmp_path / "kpi.jsonl")
    assert rows[0]["response"] == "\ufffd"


@pytest.mark.parametrize("name", ["missing/gaps.parquet", "."])
def test_a_file_that_cannot_be_written_is_named(analyzed, tmp_path: Path, name: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps([entry("/1.mp4", "Q?", "left", "left")]))
    for places in ((tmp_path / name, None), (tmp_path / "gaps.parquet", tmp_path / name)):
        with pytest.raises(BlockedError) as error:
            gaps.analyze(tmp_path, places[0], kpi_gaps=places[1])
        assert code_of(error) == "parquet_not_written"


def test_more_gaps_than_a_row_group_keep_their_order(analyzed, monkeypatch: pytest.MonkeyPatch) -> None:
    from tao_skill_bank.runs.gaps import entries, table

    monkeypatch.setattr(entries, "ENTRIES_PER_BATCH", 3)
    monkeypatch.setattr(table, "ROWS_PER_BATCH", 2)
    monkeypatch.setattr(table, "ROWS_PER_GROUP", 4)
    answers = [entry(f"/{number}.mp4", "Q?", "no", "yes" if number % 3 else "no") for number in range(25)]
    records = [record(f"r{number}", f"/{number}.mp4", ("Q?", "yes")) for number in reversed(range(25))]
    report, rows = analyzed(answers, records)
    wanted = [number for number in range(25) if number % 3]
    assert [(row["video_id"], row["record_id"]) for row in rows] == [(f"/{each}.mp4", f"r{each}") for each in wanted]
    assert {row["cluster"] for row in rows} == {1}
    assert parquet.ParquetFile(report.parquet).num_row_groups == 4
