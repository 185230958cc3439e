import json

import pytest

from tao_skill_bank.data.check import detect
from tao_skill_bank.errors import BlockedError, RequestError


def touch(*paths, text=""):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def kinds(path):
    return [(part.name, part.input.role, part.input.kind) for part in detect.parts(path)]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["annotations.json", "videos/a.mp4"], "annotations"),
        (["annotations.jsonl", "videos/a.mp4"], "annotations"),
        (["records.json", "videos/a.mp4"], "annotations"),
        (["videos/a.mp4", "metas/a.txt"], "captioned_clips"),
        (["a.mp4", "a.txt"], "captioned_clips"),
        (["a.mp4", "metadata.csv"], "captioned_clips"),
        (["a.mp4", "about.json"], "clips"),
        (["videos/a.mp4"], "clips"),
        (["cut/a.mp4", "lift/b.mp4"], "class_folders"),
        (["a.txt", "a.png"], "prompt_pairs"),
    ],
)
def test_a_folder_is_recognised_by_its_files(tmp_path, files, kind):
    touch(*(tmp_path / name for name in files))
    assert kinds(tmp_path) == [("", "train", kind)]


def test_a_file_of_lines_is_prompts_or_records(tmp_path):
    touch(tmp_path / "a.jsonl", text=json.dumps({"prompt": "a robot"}))
    touch(tmp_path / "b.jsonl", text=json.dumps({"id": 1, "video": "a.mp4", "conversations": []}))
    touch(tmp_path / "c.jsonl", text="{")
    assert [kinds(tmp_path / f"{name}.jsonl")[0][2] for name in "abc"] == ["prompt_pairs", "annotations", "annotations"]


def test_splits_are_found_below_a_folder_whatever_else_lies_there(tmp_path):
    touch(tmp_path / "recipe.json", *(tmp_path / split / "annotations.json" for split in ("test", "train", "val")))
    assert kinds(tmp_path) == [
        ("train", "train", "annotations"),
        ("val", "eval", "annotations"),
        ("test", "eval", "annotations"),
    ]


def test_media_lie_in_the_folder_or_in_its_archive_or_where_it_is_said(tmp_path):
    touch(tmp_path / "annotations.json", tmp_path / "videos.tar.gz")
    (part,) = detect.parts(tmp_path)
    assert part.input.paths["media_path"] == str(tmp_path / "videos.tar.gz")
    (part,) = detect.parts(tmp_path / "annotations.json", options=detect.Options(media=tmp_path / "media"))
    assert part.input.paths == {
        "annotation_path": str(tmp_path / "annotations.json"),
        "media_path": str(tmp_path / "media"),
    }


def test_a_kind_that_is_named_is_not_guessed(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "a.txt")
    (part,) = detect.parts(tmp_path, "prompt_pairs")
    assert part.input.kind == "prompt_pairs"
    with pytest.raises(RequestError, match="videos"):
        detect.parts(tmp_path, "videos")


@pytest.mark.parametrize("name", ["empty", "table.csv", "absent"])
def test_what_is_not_recognised_is_refused_with_the_kinds(tmp_path, name):
    (tmp_path / "empty").mkdir()
    touch(tmp_path / "table.csv")
    with pytest.raises(BlockedError) as caught:
        detect.parts(tmp_path / name)
    problem = caught.value.problems[0]
    assert problem.path == str(tmp_path / name)
    assert problem.code == ("data_missing" if name == "absent" else "data_kind_unknown")
    assert name == "absent" or "--kind annotations|" in problem.fix
