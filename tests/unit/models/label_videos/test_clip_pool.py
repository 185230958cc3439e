import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from preflight_worlds import make_record

from tao_skill_bank.contracts import Input
from tao_skill_bank.data.kinds import Context
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.label_videos import clip_pool
from tao_skill_bank.models.label_videos.kinds.unlabelled_clips import KIND


def names(source, media=None):
    pool = clip_pool.read(source, media or Path(clip_pool.usual_media(str(source))))
    assert all(clip.path == pool.media / clip.name for clip in pool.clips)
    return [clip.name for clip in pool.clips], pool


def test_every_clip_of_a_folder_and_of_its_subfolders_is_named(clips):
    (clips / "notes.txt").write_text("?")
    found, pool = names(clips)
    assert found == ["a.mp4", "b.mp4", "deep/c.mp4"]
    assert pool.num_skipped == 1


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("list.txt", ["a.mp4", "", "deep/../a.mp4", "deep/c.mp4", "old.avi"]),
        ("list.jsonl", [{"path": "a.mp4"}, {"media_path": "deep/c.mp4"}, {"id": 3}]),
        (
            "pool.json",
            [make_record(0, video="a.mp4"), make_record(1, video="a.mp4"), make_record(2, video="deep/c.mp4")],
        ),
    ],
)
def test_lists_and_annotations_name_each_clip_once(clips, name, lines):
    source = clips / name
    text = json.dumps(lines) if name.endswith(".json") else "\n".join(
        line if isinstance(line, str) else json.dumps(line) for line in lines
    )  # fmt: skip
    source.write_text(text)
    found, pool = names(source)
    assert found == ["a.mp4", "deep/c.mp4"]
    assert pool.num_skipped == (0 if name == "pool.json" else 1)


def test_clips_of_several_folders_are_named_below_the_one_that_holds_all(clips, tmp_path):
    (tmp_path / "other").mkdir()
    source = tmp_path / "other" / "list.txt"
    source.write_text(f"{clips / 'a.mp4'}\n{clips / 'deep' / 'c.mp4'}\n")
    found, pool = names(source)
    assert (found, pool.media) == (["a.mp4", "deep/c.mp4"], clips)


@pytest.mark.parametrize("content", ["", "[]", "[1, 2", '{"path": "a.mp3"}', '["a.mp4\\u0000"]', "\x00" * 9])
@pytest.mark.parametrize("name", ["list.txt", "list.jsonl", "pool.json", "list.csv"])
def test_what_names_no_clip_is_one_clear_error(tmp_path, name, content):
    source = tmp_path / name
    source.write_text(content)
    with pytest.raises(BlockedError) as caught:
        names(source)
    assert caught.value.problems[0].fix


def severities(clips, lines):
    source = clips / "list.txt"
    source.write_text("\n".join(lines))
    given = Input("clips", "unlabelled_clips", {"path": str(source), "media_path": str(clips)})
    with ThreadPoolExecutor(1) as pool:
        context = Context(pool, clips)
        return [finding.severity for finding in KIND.check([KIND.look(given, context)], context)]


def test_missing_clips_are_a_warning_and_only_missing_ones_block(clips):
    assert severities(clips, ["a.mp4", "gone.mp4"]) == ["warning"]
    assert severities(clips, ["gone.mp4"]) == ["blocking"]
    assert severities(clips, ["a.mp4"]) == ["info"]
