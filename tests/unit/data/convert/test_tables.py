"""Tables become plain LLaVA records: parquet, folders of save_to_disk, CSV and TSV."""

import io
import json
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import ipc, parquet
from robot_datasets import write_frames

from tao_skill_bank.data.convert.converter import convert
from tao_skill_bank.data.convert.values import Options
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.errors import BlockedError, MissingExtraError

STRICT = RecordRules(required_fields=("video_fps",), needs_answer=True)
TURNS = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "left"}]


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade,) * 3).save(file, "PNG")
    return file.getvalue()


def video(folder: Path) -> bytes:
    return write_frames(folder / "clip.mp4", range(4)).read_bytes()


def write_parquet(path: Path, rows, metadata=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table.replace_schema_metadata(metadata) if metadata else table, path)
    return path


def save_to_disk(folder: Path, rows, features=None, num_files=1) -> Path:
    """Write a folder as `Dataset.save_to_disk` does: Arrow streams, dataset_info.json, state.json."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    names = [f"data-{index:05d}-of-{num_files:05d}.arrow" for index in range(num_files)]
    for index, name in enumerate(names):
        part = table.slice(index * len(rows) // num_files, len(rows) // num_files)
        with pa.OSFile(str(folder / name), "wb") as file, ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part)
    (folder / "dataset_info.json").write_text(
        json.dumps({"citation": "", "description": "", "features": features or {}, "homepage": "", "license": ""})
    )
    state = {
        "_data_files": [{"filename": name} for name in names], "_fingerprint": "0123456789abcdef",
        "_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False,
        "_split": "train",
    }  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def written(out: Path):
    records = json.loads((out / "annotations.json").read_text())
    for record in records:
        read, issues = examine(record, STRICT)
        assert issues == ()
        assert all((out / name).is_file() for media in read.media for name in media.files)
    return records


def left_out(done):
    return {left.what: left.count for left in done.left_out}


def image_row(shade: int, **others):
    return {
        "id": f"{shade}",
        "image": {"bytes": picture(shade), "path": f"{shade}.png"},
        "conversations": TURNS,
    } | others


def test_pictures_of_a_parquet_file_become_files_named_by_their_content(tmp_path: Path):
    source = write_parquet(tmp_path / "x.parquet", [image_row(10), image_row(90), image_row(10, id="again")])
    done = convert(source, tmp_path / "out")
    first, second, again = written(tmp_path / "out")
    assert (tmp_path / "out" / second["image"]).read_bytes() == picture(90)
    assert first["image"] == again["image"] != second["image"]
    assert first["image"].startswith("media/")
    assert first["conversations"] == TURNS
    assert (done.records, done.media) == (3, 2)
    assert left_out(done) == {"key image.path": 3}


def test_videos_in_bytes_and_content_parts_are_read(tmp_path: Path):
    parts = [{"type": "video", "text": None}, {"type": "text", "text": "Which?"}]
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "text", "text": "left"}]},
    ]
    row = {
        "messages": messages,
        "videos": [{"bytes": video(tmp_path), "path": None}],
        "video_fps": 10.0,
        "source": "web",
    }
    done = convert(write_parquet(tmp_path / "x.parquet", [row]), tmp_path / "out")
    (record,) = written(tmp_path / "out")
    assert record["conversations"][0]["value"] == "<video>\nWhich?"
    assert (tmp_path / "out" / record["video"]).read_bytes() == video(tmp_path)
    assert left_out(done) == {"key source": 1}


def test_a_video_in_bytes_needs_a_rate(tmp_path: Path):
    row = {"question": "Which?", "answer": "left", "video": {"bytes": video(tmp_path)}}
    with pytest.raises(BlockedError, match="no video_fps"):
        convert(write_parquet(tmp_path / "x.parquet", [row]), tmp_path / "out")


def test_bytes_that_are_no_picture_are_refused(tmp_path: Path):
    rows = [image_row(1), {**image_row(2), "image": {"bytes": b"#!/bin/sh", "path": "../../x.sh"}}]
    with pytest.raises(BlockedError, match="row 1 has bytes under 'image'"):
        convert(write_parquet(tmp_path / "x.parquet", rows), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_path_without_bytes_cannot_leave_the_folder(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(picture(1))
    row = {**image_row(1), "image": {"bytes": None, "path": "../secret.png"}}
    with pytest.raises(BlockedError, match="outside of"):
        convert(write_parquet(tmp_path / "in/x.parquet", [row]), tmp_path / "out")


def test_files_of_a_folder_are_split_by_their_names(tmp_path: Path):
    for name, shades in (
        ("train-00000-of-00002", (1, 2)),
        ("train-00001-of-00002", (3,)),
        ("test-00000-of-00001", (4,)),
    ):
        write_parquet(tmp_path / f"in/data/{name}.parquet", [image_row(shade) for shade in shades])
    (tmp_path / "in/README.md").write_text("A card.")
    done = convert(tmp_path / "in", tmp_path / "out")
    assert [record["id"] for record in written(tmp_path / "out/train")] == ["1", "2", "3"]
    assert [record["id"] for record in written(tmp_path / "out/test")] == ["4"]
    assert left_out(done) == {"key image.path": 4, "files *.md": 1}
    (tmp_path / "in/data/train-00000-of-00002.parquet").unlink()
    with pytest.raises(BlockedError, match="1 of the 2 files of 'train'"):
        convert(tmp_path / "in", tmp_path / "other")


def test_classes_are_written_by_name(tmp_path: Path):
    features = {"answer": {"names": ["left", "right"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = [{"question": "Which?", "answer": 1, "image": {"bytes": picture(1)}}]
    convert(write_parquet(tmp_path / "x.parquet", rows, metadata), tmp_path / "out")
    assert written(tmp_path / "out")[0]["conversations"][1]["value"] == "right"
    convert(write_parquet(tmp_path / "y.parquet", rows), tmp_path / "other")
    assert written(tmp_path / "other")[0]["conversations"][1]["value"] == "1", "a number without a name is its own"


def test_a_saved_dataset_is_read_with_all_its_files(tmp_path: Path):
    rows = [image_row(shade) for shade in range(4)]
    done = convert(save_to_disk(tmp_path / "in", rows, num_files=2), tmp_path / "out")
    assert [record["id"] for record in written(tmp_path / "out")] == ["0", "1", "2", "3"]
    assert (done.records, done.media) == (4, 4)
    assert left_out(done) == {"key image.path": 4}


def test_a_saved_dictionary_keeps_its_splits(tmp_path: Path):
    turns = {"from": ["human", "gpt"], "value": ["Which?", "left"]}  # a sequence of fields is a list per field
    features = {"answer": {"names": ["left", "right"], "_type": "ClassLabel"}}
    save_to_disk(tmp_path / "in/train", [{"image": {"bytes": picture(1)}, "conversations": turns}])
    save_to_disk(tmp_path / "in/test", [{"image": {"bytes": picture(2)}, "question": "Which?", "answer": 1}], features)
    (tmp_path / "in/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    convert(tmp_path / "in", tmp_path / "out")
    (train,) = written(tmp_path / "out/train")
    (test,) = written(tmp_path / "out/test")
    assert [turn["value"] for turn in train["conversations"]] == ["<image>\nWhich?", "left"]
    assert test["conversations"][1]["value"] == "right"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("state.json", {"_data_files": [{"filename": "../../secret.arrow"}]}, "not in its folder"),
        ("state.json", {"_data_files": [{"filename": "data-9.arrow"}]}, "1 files that are missing: data-9.arrow"),
        ("state.json", {}, "names no files"),
        ("state.json", {"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}, "table of indices"),
        ("dataset_dict.json", {"splits": ["../.."]}, "names no splits"),
    ],
)
def test_a_saved_dataset_that_names_other_files_is_refused(tmp_path: Path, name, value, words):
    source = save_to_disk(tmp_path / "in", [image_row(1)])
    (source / name).write_text(json.dumps(value))
    with pytest.raises(BlockedError, match=words):
        convert(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["x.parquet", "in"])
def test_a_cut_table_is_one_clear_error(tmp_path: Path, name):
    source = write_parquet(tmp_path / name, [image_row(1)]) if name == "x.parquet" else save_to_disk(
        tmp_path / name, [image_row(1)]
    )  # fmt: skip
    file = source if source.is_file() else next(source.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:150])
    with pytest.raises(BlockedError, match="cannot be read"):
        convert(source, tmp_path / "out")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch):
    source = write_parquet(tmp_path / "x.parquet", [image_row(1)])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as raised:
        convert(source, tmp_path / "out")
    assert raised.value.problems[0].fix == "pip install 'tao-skill-bank[train]'"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "separator"), [("x.csv", ","), ("x.csv", ";"), ("x.tsv", "\t")])
def test_a_table_of_text_is_read_by_its_header(tmp_path: Path, name, separator):
    write_frames(tmp_path / "in/a.mp4", range(8))
    lines = [
        ("id", "video", "video_fps", "video_start", "video_end", "question", "answer", "note"),
        ("1", "a.mp4", "10", "0.1", "0.4", f'"Which{separator} ""left""\nor right?"', "left", "x"),
        ("2", "a.mp4", "30000/3000", "", "", "Which?", "right", ""),
    ]
    (tmp_path / "in" / name).write_text("\n".join(separator.join(fields) for fields in lines) + "\n")
    done = convert(tmp_path / "in" / name, tmp_path / "out")
    first, second = written(tmp_path / "out")
    assert (first["video_fps"], first["video_start"], first["video_end"]) == (10.0, 0.1, 0.4)
    assert first["conversations"][0]["value"] == f'<video>\nWhich{separator} "left"\nor right?'
    assert "video_start" not in second
    assert left_out(done) == {"key note": 1}


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b"question,answer,video\nWhich?,left\n", "row_invalid"),
        (b"question,question\nWhich?,left\n", "table_unreadable"),
        ("question,answer\nWhich?,left\n".encode("utf-16"), "table_unreadable"),
        (b'question,answer\n"Which?,left\n', "table_unreadable"),
        (b"", "table_unreadable"),
        (b"prompt,reply\nWhich?,left\n", "conversations_missing"),
        (b"question,answer\n", "records_missing"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, content, slug):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(BlockedError) as raised:
        convert(tmp_path / "x.csv", tmp_path / "out")
    assert raised.value.problems[0].code == slug
    assert raised.value.problems[0].fix


def test_columns_of_a_table_have_the_names_that_the_user_gives(tmp_path: Path):
    rows = [{"prompt": "Which?", "label": "left", "picture": {"bytes": picture(1)}}]
    options = Options(columns={"question": "prompt", "answer": "label", "image": "picture"})
    convert(write_parquet(tmp_path / "x.parquet", rows), tmp_path / "out", options)
    assert written(tmp_path / "out")[0]["conversations"][1]["value"] == "left"


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_damaged_table_is_converted_or_refused_and_never_a_crash(tmp_path: Path, form):
    random = Random(17)
    source = save_to_disk(tmp_path / "in", [image_row(1)]) if form == "arrow" else write_parquet(
        tmp_path / "x.parquet", [image_row(1)]
    )  # fmt: skip
    file = next(source.glob("*.arrow")) if form == "arrow" else source
    sound = file.read_bytes()
    refused = []
    for number in range(150):
        damaged = bytearray(sound)
        for _ in range(random.randint(1, 6)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        file.write_bytes(damaged)
        try:
            convert(source, tmp_path / f"out{number}")
        except BlockedError as error:
            refused += [(number, problem) for problem in error.problems]
    numbers = {number for number, _ in refused}
    assert 0 < len(numbers) < 150
    assert all(problem.fix for _, problem in refused)
    assert {number for number in range(150) if not (tmp_path / f"out{number}").exists()} == numbers
