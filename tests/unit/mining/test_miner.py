"""Whole minings of real clips."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import media_pool
import numpy as np
import pytest
from mining_pools import (
    MODEL,
    QUESTION,
    mined_paths,
    record,
    request,
    sha256,
    write_annotations,
    write_embeddings,
    write_gaps,
)

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.errors import BlockedError, ConflictError, RequestError
from tao_skill_bank.mining import mined_log, miner, outputs

AXES = np.eye(4)


def ring(count):
    """Return vectors at growing angles to the first axis."""
    angles = np.linspace(0.1, 1.5, count)
    return np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)


@pytest.fixture
def queries(tmp_path, kpi_clips):
    return write_embeddings(tmp_path / "kpi.parquet", kpi_clips, AXES[:3])


@pytest.fixture
def gaps(tmp_path, kpi_clips):
    """One gap, of the first KPI clip."""
    return write_gaps(tmp_path / "gaps.parquet", kpi_clips[:1], ["left"])


@pytest.fixture
def pool(tmp_path, pool_clips):
    """A pool whose clips are farther from the first KPI clip with each row."""
    return write_embeddings(tmp_path / "pool.parquet", pool_clips, ring(len(pool_clips)))


def codes(mining):
    return {finding.code for finding in mining.findings}


def error_code(error):
    return error.value.problems[0].code


def copy_of(source, target):
    return str(shutil.copy(source, target))


def encoded_again(source, target):
    frames = clip_frames.read(Path(source), range(8)).values()
    media_pool.clip(Path(target), list(frames), rate=4, options={"crf": "30"})
    assert sha256(source) != sha256(target)
    return str(target)


def test_the_nearest_clips_of_the_gaps_are_mined_for_labelling(tmp_path, queries, gaps, pool, pool_clips, kpi_clips):
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=3))
    assert mined_paths(mining.summary) == pool_clips[:3]
    lines = [json.loads(line) for line in (tmp_path / "out" / outputs.CLIPS).read_text().splitlines()]
    assert [line["video"] for line in lines] == pool_clips[:3]
    assert (lines[0]["video_fps"], lines[0]["content_sha256"]) == (4, sha256(pool_clips[0]))
    found_by = lines[1]["found_by"][0]
    assert (found_by["filepath"], found_by["question"], found_by["rank"]) == (kpi_clips[0], QUESTION, 2)
    assert mining.summary["classes"] == {"left": 3}
    assert json.loads((tmp_path / "out" / outputs.SUMMARY).read_text()) == mining.summary
    assert {"source_not_checked", "test_set_not_checked"} <= codes(mining)
    assert not {"pool_size_differs", "pool_rate_differs", "embedding_model_unknown"} & codes(mining)


def test_without_gaps_every_row_is_a_query(tmp_path, queries, pool):
    mining = miner.mine(request(tmp_path, queries, pool, top_k=1))
    assert mining.summary["counts"]["queries"] == 3
    assert mining.summary["counts"]["clips"] < 3


def test_the_threshold_ends_what_is_near_enough(tmp_path, queries, gaps, pool, pool_clips):
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=9, threshold=1 - np.cos(0.25)))
    assert mined_paths(mining.summary) == pool_clips[:2]
    with pytest.raises(BlockedError, match=r"nearest other clip is at a distance of 0\.00") as error:
        miner.mine(request(tmp_path, queries, pool, gaps=gaps, threshold=0.001, out="other"))
    assert error_code(error) == "nothing_mined"
    assert not (tmp_path / "other").exists()


def test_a_labelled_pool_gives_its_records_with_their_ids_and_rates(tmp_path, queries, gaps, pool, pool_clips):
    root = Path(pool_clips[0]).parent
    records = [record(f"r{index}", f"{index}.mp4", "left", extra=index) for index in range(12)]
    annotations = write_annotations(tmp_path / "pool.json", records)
    options = {"annotations": annotations, "media": root, "top_k": 2}
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps, **options))
    mined = json.loads((tmp_path / "out" / outputs.RECORDS).read_text())
    assert mined == [{**records[index], "video": pool_clips[index]} for index in range(2)]
    assert [clip["record_ids"] for clip in mining.summary["clips"]] == [["r0"], ["r1"]]


def test_classes_are_balanced_and_may_be_those_of_the_gap(tmp_path, queries, gaps, pool, pool_clips):
    answers = ["right", "right", "right", "left", "right", "left", "left"] + ["right"] * 5
    records = [record(f"r{index}", pool_clips[index], answer) for index, answer in enumerate(answers)]
    given = {"gaps": gaps, "annotations": write_annotations(tmp_path / "pool.json", records)}
    mining = miner.mine(request(tmp_path, queries, pool, **given, top_k=6, per_class=2))
    assert mined_paths(mining.summary) == [pool_clips[index] for index in (0, 1, 3, 5)]
    assert mining.summary["counts"]["left_out_of_full_classes"] == 2
    mining = miner.mine(request(tmp_path, queries, pool, **given, top_k=2, same_class=True, out="same"))
    assert mined_paths(mining.summary) == [pool_clips[3], pool_clips[5]]
    mining = miner.mine(request(tmp_path, queries, pool, **given, top_k=6, per_class=3, out="short"))
    assert "classes_short" in codes(mining)


def test_nothing_is_mined_twice_over_three_minings(tmp_path, queries, gaps, pool, pool_clips):
    log = tmp_path / "mined.jsonl"
    found = []
    for number in range(3):
        mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=4, log=log, out=f"{number}"))
        found += mined_paths(mining.summary)
    assert found == pool_clips
    with pytest.raises(BlockedError, match="12 were mined before"):
        miner.mine(request(tmp_path, queries, pool, gaps=gaps, log=log, out="3"))
    again = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=1, log=log, mines_again=True, out="4"))
    assert mined_paths(again.summary) == pool_clips[:1]


def test_a_copy_of_what_was_mined_is_not_mined_under_another_name(tmp_path, queries, gaps, pool, pool_clips):
    log = tmp_path / "mined.jsonl"
    miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=1, log=log))
    copy = copy_of(pool_clips[0], tmp_path / "copy.mp4")
    second = write_embeddings(tmp_path / "second.parquet", [copy, pool_clips[1]], ring(2))
    mining = miner.mine(request(tmp_path, queries, second, gaps=gaps, log=log, out="second"))
    assert mined_paths(mining.summary) == [pool_clips[1]]
    assert mining.summary["excluded"] == {"mined_before": 1}


def test_a_mining_is_repeated_after_a_kill_at_any_point(tmp_path, queries, gaps, pool, pool_clips, monkeypatch):
    log, asked = tmp_path / "mined.jsonl", {"gaps": gaps, "top_k": 4, "log": tmp_path / "mined.jsonl"}
    with monkeypatch.context() as patch:
        patch.setattr(mined_log, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            miner.mine(request(tmp_path, queries, pool, **asked))
    repeated = miner.mine(request(tmp_path, queries, pool, **asked))
    assert repeated.is_reused
    assert mined_paths(repeated.summary) == pool_clips[:4]
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][:20])  # torn by a kill
    miner.mine(request(tmp_path, queries, pool, **asked))
    entries = [json.loads(line)["path"] for line in log.read_bytes().splitlines() if line.endswith(b"}")]
    assert entries == [pool_clips[0], *pool_clips[1:4]]
    shutil.rmtree(tmp_path / "out")  # killed before the folder appeared
    again = miner.mine(request(tmp_path, queries, pool, **asked))
    assert mined_paths(again.summary) == pool_clips[:4]
    following = miner.mine(request(tmp_path, queries, pool, **asked, out="next"))
    assert mined_paths(following.summary) == pool_clips[4:8]
    assert "mined_log_torn" in codes(following)


def test_another_mining_into_the_same_folder_is_refused(tmp_path, queries, gaps, pool):
    miner.mine(request(tmp_path, queries, pool, gaps=gaps))
    with pytest.raises(ConflictError):
        miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=2))
    (tmp_path / "else").mkdir()
    with pytest.raises(ConflictError):
        miner.mine(request(tmp_path, queries, pool, gaps=gaps, out="else"))


def test_clips_that_leak_are_left_out_with_their_reason(tmp_path, queries, gaps, pool_clips, kpi_clips):
    test_clip = pool_clips[11]
    files = [
        kpi_clips[0],
        copy_of(kpi_clips[0], tmp_path / "copy.mp4"),
        encoded_again(kpi_clips[1], tmp_path / "again.mp4"),
        test_clip,
        *pool_clips[:4],
    ]
    pool = write_embeddings(tmp_path / "pool.parquet", files, ring(len(files)))
    test = write_annotations(tmp_path / "test.json", [record("t", test_clip, "left", tape="T")])
    records = [record(f"r{index}", file, "left", tape=str(index)) for index, file in enumerate(files)]
    records[4]["tape"] = "T"
    annotations = write_annotations(tmp_path / "annotations.json", records)
    given = {"gaps": gaps, "annotations": annotations, "against": (test,), "source_key": "tape"}
    mining = miner.mine(request(tmp_path, queries, pool, **given, top_k=2))
    assert mined_paths(mining.summary) == pool_clips[1:3]
    assert mining.summary["excluded"] == {
        "same_file_held_out": 2,
        "same_source_held_out": 1,
        "same_content_held_out": 1,
        "near_duplicate_held_out": 1,
    }
    first = mining.summary["excluded_first"]
    assert first["same_content_held_out"] == [{"path": files[1], "other": kpi_clips[0]}]
    assert first["near_duplicate_held_out"] == [{"path": files[2], "other": kpi_clips[1]}]
    assert "pool_near_duplicate_held_out" in codes(mining)
    assert "source_not_checked" not in codes(mining)


def test_the_search_goes_on_until_enough_clips_do_not_leak(tmp_path, queries, gaps, pool_clips, kpi_clips):
    copies = [copy_of(kpi_clips[0], tmp_path / f"copy {index}.mp4") for index in range(9)]
    files = [*copies, *pool_clips[:2]]
    pool = write_embeddings(tmp_path / "pool.parquet", files, ring(len(files)))
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=1))
    assert mined_paths(mining.summary) == pool_clips[:1]
    assert mining.summary["excluded"] == {"same_content_held_out": 9}


@pytest.mark.parametrize("copied", [False, True])
def test_a_pool_that_is_the_kpi_set_is_refused(tmp_path, queries, gaps, kpi_clips, copied):
    files = [copy_of(file, tmp_path / f"copy {Path(file).name}") if copied else file for file in kpi_clips]
    pool = write_embeddings(tmp_path / "pool.parquet", files, ring(len(files)))
    with pytest.raises(BlockedError) as error:
        miner.mine(request(tmp_path, queries, pool, gaps=gaps))
    assert error_code(error) == "pool_is_held_out"


def test_a_pool_of_another_size_and_rate_is_pointed_out(tmp_path, queries, gaps, pool_clips):
    frames = [
        np.roll(np.random.default_rng(0).integers(0, 255, (48, 80, 3)).astype(np.uint8), 4 * n, 1) for n in range(8)
    ]
    other = str(media_pool.clip(tmp_path / "other.mp4", frames, rate=10))
    pool = write_embeddings(tmp_path / "pool.parquet", [other, pool_clips[0]], ring(2))
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps))
    messages = {finding.code: finding.message for finding in mining.findings}
    assert "1 of 2 mined clips have another size than any KPI clip: 80x48" in messages["pool_size_differs"]
    assert "10 fps, where those have 4 fps" in messages["pool_rate_differs"]


def test_unusable_rows_are_counted_and_named(tmp_path, queries, gaps, pool_clips):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 100)
    vectors = ring(7)
    vectors[1], vectors[2, 0] = 0, np.nan
    files = [*pool_clips[:3], str(tmp_path / "absent.mp4"), str(broken), pool_clips[0], pool_clips[4]]
    contents = [None] * 6 + ["0" * 64]
    pool = write_embeddings(tmp_path / "pool.parquet", files, vectors, content_sha256=contents)
    mining = miner.mine(request(tmp_path, queries, pool, gaps=gaps))
    assert mined_paths(mining.summary) == pool_clips[:1]
    excluded = {"embedding_unusable": 2, "repeated_row": 1, "unreadable": 2, "changed_since_embedded": 1}
    assert mining.summary["excluded"] == excluded
    assert [entry["path"] for entry in mining.summary["excluded_first"]["embedding_unusable"]] == pool_clips[1:3]


def test_diversity_passes_over_clips_that_are_like_chosen_ones(tmp_path, queries, gaps, pool_clips):
    near, like_it, other = [1, 0.1, 0, 0], [1, 0.12, 0, 0], [1, 0, 0.4, 0]
    pool = write_embeddings(tmp_path / "pool.parquet", pool_clips[:3], [near, like_it, other])
    plain = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=2))
    diverse = miner.mine(request(tmp_path, queries, pool, gaps=gaps, top_k=2, diversity=0.7, out="diverse"))
    assert mined_paths(plain.summary) == pool_clips[:2]
    assert mined_paths(diverse.summary) == [pool_clips[0], pool_clips[2]]


@pytest.mark.parametrize(("identity", "problem"), [("r1", "Two different records"), (None, "has no id")])
def test_ids_of_mined_records_must_be_theirs_alone(tmp_path, queries, pool, pool_clips, identity, problem):
    records = [record(f"r{index}", file, "left") for index, file in enumerate(pool_clips)]
    records[0]["id"] = identity
    annotations = write_annotations(tmp_path / "pool.json", records)
    with pytest.raises(BlockedError, match=problem):
        miner.mine(request(tmp_path, queries, pool, annotations=annotations))
    assert not (tmp_path / "out").exists()


def test_an_id_of_what_was_mined_before_from_another_pool_is_a_conflict(tmp_path, queries, gaps, pool, pool_clips):
    log = tmp_path / "mined.jsonl"
    for name, files in {"one": pool_clips[:1], "two": pool_clips[1:2]}.items():
        annotations = write_annotations(tmp_path / f"{name}.json", [record("same", files[0], "left")])
        asked = request(tmp_path, queries, pool, gaps=gaps, annotations=annotations, log=log, out=name)
        if name == "one":
            miner.mine(asked)
        else:
            with pytest.raises(ConflictError, match="The id same of"):
                miner.mine(asked)


def test_embeddings_of_two_models_are_refused(tmp_path, queries, gaps, pool_clips):
    other = write_embeddings(tmp_path / "o.parquet", pool_clips, ring(12), model={**MODEL, "checkpoint": "zz"})
    with pytest.raises(BlockedError, match="checkpoint: aa and zz"):
        miner.mine(request(tmp_path, queries, other, gaps=gaps))
    wide = write_embeddings(tmp_path / "wide.parquet", pool_clips, np.ones((12, 5)))
    with pytest.raises(BlockedError, match=r"4 values and .* of 5"):
        miner.mine(request(tmp_path, queries, wide, gaps=gaps))
    unknown = write_embeddings(tmp_path / "unknown.parquet", pool_clips, ring(12), model=None)
    assert "embedding_model_unknown" in codes(miner.mine(request(tmp_path, queries, unknown, gaps=gaps)))


def test_a_pool_of_another_modality_is_pointed_out(tmp_path, queries, gaps, pool_clips):
    pool = write_embeddings(tmp_path / "pool.parquet", pool_clips, ring(12), modality=["text"] * 12)
    assert "modalities_differ" in codes(miner.mine(request(tmp_path, queries, pool, gaps=gaps)))


def test_clips_that_the_annotations_do_not_name_are_pointed_out(tmp_path, queries, gaps, pool, pool_clips):
    given = {"gaps": gaps, "annotations": write_annotations(tmp_path / "a.json", [record("r", pool_clips[2], "left")])}
    mining = miner.mine(request(tmp_path, queries, pool, **given))
    assert (mined_paths(mining.summary), mining.summary["excluded"]) == ([pool_clips[2]], {"without_record": 11})
    assert "pool_without_record" in codes(mining)
    write_annotations(tmp_path / "a.json", [record("r", "other.mp4", "left")])
    with pytest.raises(BlockedError) as error:
        miner.mine(request(tmp_path, queries, pool, **given, out="other"))
    assert "--pool-media" in error.value.problems[0].fix


def test_gaps_find_the_embedding_of_their_question(tmp_path, pool, kpi_clips, pool_clips):
    files, asked = [kpi_clips[0]] * 2, ["<video>\nWhere?", "When?"]
    joint = write_embeddings(tmp_path / "joint.parquet", files, ring(12)[[11, 0]], question=asked)
    gaps = write_gaps(
        tmp_path / "g.parquet",
        [*files, kpi_clips[1]],
        ["a", "b", "c"],
        ["Where?", "When? Answer with yes or no.", "Who?"],
    )
    mining = miner.mine(request(tmp_path, joint, pool, gaps=gaps, top_k=1))
    assert {clip["path"]: clip["classes"] for clip in mining.summary["clips"]} == {
        pool_clips[11]: ["a"],
        pool_clips[0]: ["b"],
    }
    assert "gaps_not_embedded" in codes(mining)


def test_gaps_without_rows_or_embeddings_are_refused(tmp_path, queries, pool, pool_clips):
    empty = write_gaps(tmp_path / "empty.parquet", [], [])
    other = write_gaps(tmp_path / "other.parquet", pool_clips[:1], ["left"])
    for gaps, code in ((empty, "gaps_missing"), (other, "gaps_not_embedded"), (pool, "gaps_malformed")):
        with pytest.raises(BlockedError) as error:
            miner.mine(request(tmp_path, queries, pool, gaps=gaps))
        assert error_code(error) == code


def test_contradictory_options_are_refused_together(tmp_path, queries, pool):
    asked = request(
        tmp_path, queries, pool, top_k=0, per_class=1, diversity=2, threshold=float("nan"), same_class=True,
        metric="dot", source_key="tape", media=tmp_path,
    )  # fmt: skip
    with pytest.raises(RequestError) as error:
        miner.mine(asked)
    paths = [problem.path for problem in error.value.problems]
    numbers, others = ["--top-k", "--diversity", "--threshold"], ["--source-key", "--pool-media", "--metric"]
    assert paths == [*numbers, "--same-class", "--per-class", *others]


def test_a_folder_that_cannot_be_written_leaves_no_trace(tmp_path, queries, gaps, pool):
    (tmp_path / "file").write_text("")
    with pytest.raises(BlockedError) as error:
        miner.mine(request(tmp_path, queries, pool, gaps=gaps, out="file/out"))
    assert error_code(error) == "target_not_written"
    assert not list(tmp_path.glob(".*"))


def test_two_minings_with_one_log_at_once_take_different_clips(tmp_path, queries, gaps, pool, pool_clips):
    log = tmp_path / "mined.jsonl"
    asked = [request(tmp_path, queries, pool, gaps=gaps, top_k=3, log=log, out=f"{number}") for number in range(3)]
    with ThreadPoolExecutor(3) as threads:
        found = [path for mining in threads.map(miner.mine, asked) for path in mined_paths(mining.summary)]
    assert sorted(found) == sorted(pool_clips[:9])
