"""Annotation files of every form become plain LLaVA records with their media, which read the same."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from robot_datasets import write_frames

from tao_skill_bank.data.convert.converter import convert
from tao_skill_bank.data.convert.values import Options
from tao_skill_bank.data.media import clip_index
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.errors import BlockedError, ConflictError, MissingExtraError, RequestError

STRICT = RecordRules(required_fields=("video_fps",), needs_answer=True)
TEXTS = ("Which way?", "left")


def source_of(folder: Path, records, name="annotations.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(records))
    for video in ("a", "b"):
        write_frames(folder / f"videos/{video}.mp4", range(4))
    for number in range(4):
        (folder / "frames").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (number * 40,) * 3).save(folder / f"frames/{number}.png")
    return folder


def turns(question=TEXTS[0], answer=TEXTS[1]):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def written(out: Path):
    return json.loads((out / "annotations.json").read_text())


def left_out(done):
    return {left.what: left.count for left in done.left_out}


def keys_left_out(done):
    return {what: count for what, count in left_out(done).items() if not what.startswith("files ")}


FRAMES = [f"frames/{number}.png" for number in range(4)]
FORMS = {
    "llava": {"id": "1", "video": "videos/a.mp4", "video_fps": 10, "conversations": turns("<video>\nWhich way?")},
    "no marker": {"id": "1", "video": "videos/a.mp4", "video_fps": 10, "conversations": turns()},
    "llava-video": {"id": "1", "video": "videos/a.mp4", "video_fps": 10, "conversations": turns("<image>\nWhich?")},
    "messages": {
        "messages": [{"role": "user", "content": "<video>Which?"}, {"role": "assistant", "content": "left"}],
        "videos": ["videos/a.mp4"], "video_fps": "30000/1001", "system": "Be brief.",
    },
    "parts": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "Before"},
                {"type": "video", "video": "videos/a.mp4", "video_fps": 10, "video_start": 0.1, "video_end": 0.3},
                {"type": "text", "text": "after?"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "left"}]},
        ]
    },
    "image_url": {
        "messages": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "Which?"}, {"type": "image_url", "image_url": {"url": "frames/0.png"}},
            ]},
            {"role": "assistant", "content": "left"},
        ]
    },
    "columns": {"question": "Which?", "answer": "left", "video": "videos/a.mp4", "video_fps": 10},
    "two images, one marker": {"images": FRAMES[:2], "conversations": turns("<image>\nWhich?")},
    "images and a video": {
        "images": FRAMES[:2], "video": "videos/a.mp4", "video_fps": 10,
        "conversations": turns("<image> and <video> and <image>?"),
    },
    "frames": {"video": FRAMES, "video_fps": 4, "conversations": turns()},
    "sampled frames": {"video": FRAMES, "sample_fps": 2, "conversations": turns()},
    "numbered frames": {"video": FRAMES, "video_fps": 8, "frames_indices": [0, 3, 6, 9], "conversations": turns()},
    "two clips of frames": {"videos": [FRAMES[:2], FRAMES[2:]], "sample_fps": 2, "conversations": turns()},
    "a clip and frames": {"videos": ["videos/a.mp4", FRAMES], "video_fps": 10, "conversations": turns()},
    "two videos": {
        "videos": ["videos/a.mp4", "videos/b.mp4"], "video_fps": 10, "video_end": 0.3,
        "conversations": turns("<video> or <video>?"),
    },
    "several turns": {
        "video": "videos/a.mp4", "video_fps": 10, "conversations": [*turns(" First? "), *turns("Second <video>?")]
    },
    "no answer": {"video": "videos/a.mp4", "video_fps": 10, "conversations": turns()[:1]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_the_same_after_the_conversion(tmp_path: Path, form):
    source = source_of(tmp_path / "in", [FORMS[form]])
    done = convert(source, tmp_path / "out")
    (plain,) = written(tmp_path / "out")
    before, _ = examine(FORMS[form], RecordRules())
    after, issues = examine(plain, STRICT if before.answers else RecordRules())
    assert issues == ()
    assert after.unread == ()
    assert (after.media, after.system, after.turn_format) == (before.media, before.system, "from/value")
    assert [turn.text.split() for turn in after.turns] == [turn.text.split() for turn in before.turns]
    assert [[part.kind for part in turn.parts] for turn in after.turns] == [
        [part.kind for part in turn.parts] for turn in before.turns
    ]
    for media in after.media:
        for name in media.files:
            assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
    assert done.media == len({name for media in after.media for name in media.files})


def test_a_plain_record_stays_as_it_is(tmp_path: Path):
    convert(source_of(tmp_path / "in", [FORMS["llava"]]), tmp_path / "out")
    assert written(tmp_path / "out") == [FORMS["llava"]]


def test_a_missing_rate_comes_from_the_container(tmp_path: Path):
    record = {"id": "1", "video": "videos/a.mp4", "conversations": turns()}
    convert(source_of(tmp_path / "in", [record]), tmp_path / "out")
    assert written(tmp_path / "out")[0]["video_fps"] == 10.0


def test_keys_without_a_place_are_counted(tmp_path: Path):
    records = [{**FORMS["columns"], "id": str(index), "source": "web", "weight": index} for index in range(3)]
    records[2]["weight"] = None
    done = convert(source_of(tmp_path / "in", records), tmp_path / "out")
    assert keys_left_out(done) == {"key source": 3, "key weight": 2}
    assert done.left_out[0].first.startswith("Record 0 ")


@pytest.mark.parametrize("links", [False, True])
def test_media_are_copied_or_linked(tmp_path: Path, links):
    source = source_of(tmp_path / "in", [FORMS["llava"]])
    convert(source, tmp_path / "out", Options(links=links))
    video = tmp_path / "out/videos/a.mp4"
    assert video.is_symlink() is links
    assert video.resolve() == ((source if links else tmp_path / "out") / "videos/a.mp4").resolve()


def test_media_of_an_archive_next_to_the_annotations_are_unpacked(tmp_path: Path):
    source = source_of(tmp_path / "in", [FORMS["llava"], {**FORMS["columns"], "id": "2"}])
    content = (source / "videos/a.mp4").read_bytes()
    with tarfile.open(source / "videos.tar.gz", "w:gz") as archive:
        archive.add(source / "videos", "videos")
    for video in (source / "videos").iterdir():
        video.unlink()
    (source / "videos").rmdir()
    done = convert(source, tmp_path / "out")
    assert (done.records, done.media) == (2, 1)
    assert (tmp_path / "out/videos/a.mp4").read_bytes() == content
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["annotations.json", "videos"]
    assert left_out(done) == {"members of videos.tar.gz that no record shows": 1, "files frames/*.png": 4}


def test_an_archive_with_unsafe_members_is_refused(tmp_path: Path):
    source = source_of(tmp_path / "in", [FORMS["llava"]])
    with tarfile.open(tmp_path / "media.tar", "w") as archive:
        member = tarfile.TarInfo("../videos/a.mp4")
        archive.addfile(member, io.BytesIO())
    with pytest.raises(BlockedError, match="unsafe"):
        convert(source, tmp_path / "out", Options(media_root=tmp_path / "media.tar"))


def test_all_bad_records_are_listed_and_nothing_is_written(tmp_path: Path):
    bad = [
        {**FORMS["llava"], "id": "empty", "conversations": turns(answer="")},
        {**FORMS["llava"], "id": "rate", "video_fps": "fast"},
        {**FORMS["llava"], "id": "gone", "video": "videos/gone.mp4"},
        {**FORMS["llava"], "id": "outside", "video": "../../etc/passwd.mp4"},
        {**FORMS["llava"], "id": "reserved", "video": "annotations.json"},
        "no record",
    ]
    source = source_of(tmp_path / "in", [FORMS["llava"], *bad])
    with pytest.raises(BlockedError) as raised:
        convert(source, tmp_path / "out")
    assert [problem.code for problem in raised.value.problems] == [
        "answer_empty", "video_fps_invalid", "media_missing", "media_outside_root", "media_name_reserved",
        "record_not_object",
    ]  # fmt: skip
    assert all(problem.fix and "annotations.json record" in problem.path for problem in raised.value.problems[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_beyond_a_limit_problems_are_counted(tmp_path: Path):
    source = source_of(tmp_path / "in", [{"video": "videos/a.mp4", "conversations": 5}] * 250)
    with pytest.raises(BlockedError) as raised:
        convert(source, tmp_path / "out")
    assert len(raised.value.problems) == 101
    assert raised.value.problems[-1].message.startswith("250 problems")


def test_what_plain_llava_cannot_say_is_refused(tmp_path: Path):
    parts = [{"type": "video", "video": f"videos/{name}.mp4", "video_fps": rate} for name, rate in (("a", 5), ("b", 9))]
    record = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "left"}]}
    with pytest.raises(BlockedError, match=r"different values of video_fps: 5\.0 and 9\.0"):
        convert(source_of(tmp_path / "in", [record]), tmp_path / "out")


def test_absolute_names_inside_the_media_root_become_relative(tmp_path: Path):
    source = source_of(tmp_path / "in", [])
    record = {**FORMS["llava"], "video": str(source / "videos/a.mp4")}
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/x.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(BlockedError, match="outside of"):
        convert(tmp_path / "lists/x.jsonl", tmp_path / "out")
    convert(tmp_path / "lists/x.jsonl", tmp_path / "out", Options(media_root=source))
    assert written(tmp_path / "out")[0]["video"] == "videos/a.mp4"


def test_columns_have_the_names_that_the_user_gives(tmp_path: Path):
    record = {"prompt": "Which?", "label": "left", "video": "videos/a.mp4", "video_fps": 10, "answer": "old"}
    options = Options(columns={"question": "prompt", "answer": "label"})
    done = convert(source_of(tmp_path / "in", [record]), tmp_path / "out", options)
    assert written(tmp_path / "out")[0]["conversations"] == turns("<video>\nWhich?")
    assert keys_left_out(done) == {"key answer": 1}
    with pytest.raises(BlockedError, match="no column 'reply'"):
        convert(tmp_path / "in", tmp_path / "other", replace(options, columns={"answer": "reply"}))


@pytest.mark.parametrize(
    ("options", "error", "slug"),
    [
        (Options("clips"), RequestError, "target_unknown"),
        (Options(camera="top"), RequestError, "camera_unused"),
        (Options(question="What?"), RequestError, "template_unused"),
        (Options(media_root=Path("/nothing")), RequestError, "media_root_not_folder"),
        (Options(columns={"question": "x", "answer": "x"}), RequestError, "columns_ambiguous"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options, error, slug):
    with pytest.raises(error) as raised:
        convert(source_of(tmp_path / "in", [FORMS["llava"]]), tmp_path / "out", options)
    assert raised.value.problems[0].code == slug
    assert not (tmp_path / "out").exists()


def test_a_source_that_cannot_be_read_is_one_clear_error(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("[{")
    (tmp_path / "none.json").write_text("[]")
    for name, slug in (
        ("nothing", "source_missing"), ("empty", "source_unknown"), ("broken.json", "annotation_unreadable"),
        ("none.json", "records_missing"),
    ):  # fmt: skip
        with pytest.raises(BlockedError) as raised:
            convert(tmp_path / name, tmp_path / "out")
        assert raised.value.problems[0].code == slug
    with pytest.raises(RequestError, match="does not exist"):
        convert(tmp_path / "none.json", tmp_path / "no" / "out")
    with pytest.raises(ConflictError):
        convert(tmp_path / "none.json", tmp_path / "empty")


def test_the_source_is_only_read(tmp_path: Path):
    source = source_of(tmp_path / "in", [FORMS["llava"]])
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in source.rglob("*")}
    convert(source, tmp_path / "out")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in source.rglob("*")} == before
    with av.open(str(tmp_path / "out/videos/a.mp4")) as container:
        assert np.mean([frame.to_ndarray().mean() for frame in container.decode(video=0)]) > 0


def test_keys_next_to_the_list_of_records_are_named(tmp_path: Path):
    source = source_of(tmp_path / "in", {"info": {"year": 2025}, "annotations": [FORMS["llava"]], "licence": "x"})
    done = convert(source, tmp_path / "out")
    assert keys_left_out(done) == {"key info next to annotations": 1, "key licence next to annotations": 1}


def test_names_cannot_write_on_the_terminal(tmp_path: Path):
    record = {**FORMS["llava"], "a\x1b[2Jb\ud800": 1}
    done = convert(source_of(tmp_path / "in", [record]), tmp_path / "out")
    assert keys_left_out(done) == {"key a\\x1b[2Jb\\ud800": 1}


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fails)
    with pytest.raises(BlockedError, match="No space left on device"):
        convert(source_of(tmp_path / "in", [FORMS["llava"]]), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_files_of_a_folder_that_no_record_names_are_counted(tmp_path: Path):
    record = {**FORMS["llava"], "video": "./videos/../videos/a.mp4"}
    source = source_of(tmp_path / "in", [record, {**FORMS["frames"], "id": "2"}])
    (source / "val.json").write_text("[]")
    (source / "LICENSE").write_text("")
    done = convert(source, tmp_path / "out")
    assert left_out(done) == {"file LICENSE": 1, "files *.json": 1, "files videos/*.mp4": 1}
    assert left_out(convert(source / "annotations.json", tmp_path / "other")) == {}


def test_a_name_that_begins_with_two_dots_is_inside(tmp_path: Path):
    source = source_of(tmp_path / "in", [{**FORMS["llava"], "video": "..a/b.mp4"}])
    write_frames(source / "..a/b.mp4", range(3))
    convert(source, tmp_path / "out")
    assert (tmp_path / "out/..a/b.mp4").is_file()


def test_without_a_decoder_a_missing_rate_names_the_extra(tmp_path: Path, monkeypatch):
    source = source_of(tmp_path / "in", [{"video": "videos/a.mp4", "conversations": turns()}] * 3)
    monkeypatch.setattr(clip_index, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as raised:
        convert(source, tmp_path / "out")
    assert raised.value.problems[0].fix == "pip install 'tao-skill-bank[train]'"
