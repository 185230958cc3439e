"""LeRobot datasets become clips cut by their timestamps, or records by a template."""

import json
from pathlib import Path

import av
import pytest
from media_pool import clip, corners, with_matrix
from robot_datasets import FPS, TOP, WRIST, frame_numbers, info, version_2, version_3, write_frames, write_json

from tao_skill_bank.data import clip_folders
from tao_skill_bank.data.convert.converter import convert
from tao_skill_bank.data.convert.values import Options
from tao_skill_bank.data.media import clip_index
from tao_skill_bank.errors import BlockedError, ConflictError, MissingExtraError, RequestError

CLIPS = Options("clips")
ASKED = Options("llava", question="What is the robot doing?", answer="{task}")


def left_out(done):
    return {left.what: left.count for left in done.left_out}


def codes(raised):
    return [problem.code for problem in raised.value.problems]


def test_episodes_of_layout_2_become_captioned_clips(tmp_path: Path):
    done = convert(version_2(tmp_path / "in"), tmp_path / "out", CLIPS)
    assert (done.records, done.media) == (2, 2)
    assert frame_numbers(tmp_path / "out/videos/episode_000000.mp4") == list(range(5))
    assert frame_numbers(tmp_path / "out/videos/episode_000001.mp4") == list(range(10, 18))
    assert (tmp_path / "out/metas/episode_000001.txt").read_text() == "Push the box.\n"
    read = clip_folders.read(tmp_path / "out")
    assert read.problems == ()
    assert [clip.caption for clip in read.clips] == ["Lift the cup.", "Push the box."]


def test_episodes_of_layout_3_are_cut_out_of_their_files_at_a_constant_rate(tmp_path: Path):
    done = convert(version_3(tmp_path / "in"), tmp_path / "out", CLIPS)
    clips = sorted((tmp_path / "out/videos").iterdir())
    assert [frame_numbers(path) for path in clips] == [
        list(range(5)), list(range(5, 13)), list(range(13, 25)), list(range(6))
    ]  # fmt: skip
    assert done.records == len(clips)
    for path in clips:
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == FPS
    assert (tmp_path / "out/metas/episode_000002.txt").read_text() == "Task 2.\n"


def test_an_episode_late_in_a_long_file_is_found_from_the_keyframe_before_it(tmp_path: Path):
    source = version_3(tmp_path / "in", files=((31, 9),))
    convert(source, tmp_path / "out", CLIPS)
    assert frame_numbers(tmp_path / "out/videos/episode_000001.mp4") == list(range(31, 40))


def test_timestamps_that_are_rounded_still_name_the_same_frames(tmp_path: Path):
    def rounded(row):
        key = f"videos/{TOP}/from_timestamp"
        return {**row, key: row[key] + 1e-4}

    convert(version_3(tmp_path / "in", change=rounded), tmp_path / "out", CLIPS)
    assert frame_numbers(tmp_path / "out/videos/episode_000001.mp4") == list(range(5, 13))


def test_what_has_no_place_is_listed_with_counts(tmp_path: Path):
    source = version_2(tmp_path / "in", cameras=(TOP, WRIST))
    (source / "README.md").write_text("A card.")
    done = convert(source, tmp_path / "out", Options("clips", camera=TOP))
    assert left_out(done) == {
        f"camera {WRIST}": 2,
        "feature action": 13,
        "feature observation.state": 13,
        "files *.md": 1,
        "files data/*.parquet": 2,
        "files meta/*.jsonl": 1,
        "files videos/*.mp4": 2,
        "key robot_type of info.json": 1,
    }


def test_a_camera_is_chosen_where_there_are_several(tmp_path: Path):
    source = version_3(tmp_path / "in", cameras=(TOP, WRIST))
    with pytest.raises(BlockedError, match=f"2 cameras: {TOP}, {WRIST}") as raised:
        convert(source, tmp_path / "out", CLIPS)
    assert codes(raised) == ["camera_ambiguous"]
    with pytest.raises(BlockedError, match="no camera 'front'"):
        convert(source, tmp_path / "out", Options("clips", camera="front"))
    assert convert(source, tmp_path / "out", Options("clips", camera=WRIST)).records == 4


def test_splits_become_folders_where_there_are_several(tmp_path: Path):
    source = version_2(tmp_path / "in", splits={"train": "0:1", "val": "1:2"})
    convert(source, tmp_path / "out", CLIPS)
    assert frame_numbers(tmp_path / "out/val/videos/episode_000001.mp4") == list(range(10, 18))
    assert clip_folders.read(tmp_path / "out/train").problems == ()


def test_records_come_from_the_template_of_the_user_only(tmp_path: Path):
    source = version_3(tmp_path / "in", files=((5, 8),))
    with pytest.raises(RequestError, match="no questions"):
        convert(source, tmp_path / "out", Options("llava"))
    convert(source, tmp_path / "out", ASKED)
    first, second = json.loads((tmp_path / "out/annotations.json").read_text())
    assert second == {
        "id": "episode_000001",
        "video": "videos/episode_000001.mp4",
        "video_fps": 10.0,
        "conversations": [
            {"from": "human", "value": "<video>\nWhat is the robot doing?"},
            {"from": "gpt", "value": "Task 1."},
        ],
    }
    assert frame_numbers(tmp_path / "out" / second["video"]) == list(range(5, 13))
    assert first["id"] == "episode_000000"


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        (Options("llava", question="What?", answer="{tasks}"), "template_unknown"),
        (Options("llava", question="What?", answer="It works."), "template_constant"),
        (Options("clips", question="What?"), "template_unused"),
        (Options("clips", links=True), "option_unused"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options, slug):
    with pytest.raises(RequestError) as raised:
        convert(version_2(tmp_path / "in"), tmp_path / "out", options)
    assert codes(raised) == [slug]


def test_all_missing_chunks_are_named_and_nothing_is_written(tmp_path: Path):
    source = version_2(tmp_path / "in")
    for video in source.rglob("*.mp4"):
        video.unlink()
    with pytest.raises(BlockedError, match=r"episode_000000.mp4 is missing.*episode_000001.mp4 is missing") as raised:
        convert(source, tmp_path / "out", CLIPS)
    assert codes(raised) == ["episode_video_missing"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_missing_tables_of_episodes_are_noticed(tmp_path: Path):
    source = version_3(tmp_path / "in", total_episodes=9)
    with pytest.raises(BlockedError, match=r"9 episodes by info\.json, and its tables list 4"):
        convert(source, tmp_path / "out", CLIPS)
    (source / "meta/episodes/chunk-000/file-000.parquet").unlink()
    with pytest.raises(BlockedError, match="no table of episodes"):
        convert(source, tmp_path / "out", CLIPS)


def test_a_video_with_other_frames_than_its_table_says_is_refused(tmp_path: Path):
    source = version_2(tmp_path / "in")
    video = source / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    write_frames(video, range(7))
    with pytest.raises(BlockedError, match="it has 7 frames where its table says 8"):
        convert(source, tmp_path / "out", CLIPS)
    write_frames(video, range(9))
    with pytest.raises(BlockedError, match="it has 9 frames where its table says 8"):
        convert(source, tmp_path / "out", CLIPS)
    write_frames(video, range(8), fps=12)
    with pytest.raises(BlockedError, match="at 10 frames per second"):
        convert(source, tmp_path / "out", CLIPS)
    video.write_bytes(b"no video")
    with pytest.raises(BlockedError, match=r"cannot be used|cannot be read|is not a video"):
        convert(source, tmp_path / "out", CLIPS)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({f"videos/{TOP}/to_timestamp": 0.4}, "5 frames, and lies between 0 and 0.4 seconds, which are 4 frames"),
        ({f"videos/{TOP}/from_timestamp": float("nan")}, "lies between nan"),
        ({f"videos/{TOP}/from_timestamp": 9.0}, "lies between 9.0 and 0.5"),
        ({"length": -5}, "no valid length"),
        ({"tasks": []}, "no task"),
        ({"tasks": [" "]}, "no task"),
        ({"episode_index": 1}, "lists episode 1 twice"),
        ({f"videos/{TOP}/file_index": 7}, "file-007.mp4 is missing"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(tmp_path: Path, values, words):
    def change(row):
        return {**row, **values} if row["episode_index"] == 0 else row

    with pytest.raises(BlockedError) as raised:
        convert(version_3(tmp_path / "in", change=change), tmp_path / "out", CLIPS)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("template", "slug"),
    [
        ("../../{video_key}.mp4", "path_outside_dataset"),
        ("/etc/passwd", "path_outside_dataset"),
        ("videos/{video_key.__class__}/x.mp4", "episode_video_missing"),
        ("videos/{secret}/x.mp4", "dataset_invalid"),
        ("videos/{episode_index:0999999999d}.mp4", "episode_video_missing"),
        ("videos/" + "x" * 300 + ".mp4", "path_outside_dataset"),
        (7, "dataset_invalid"),
    ],
)
def test_templates_of_paths_cannot_lead_elsewhere(tmp_path: Path, template, slug):
    with pytest.raises(BlockedError) as raised:
        convert(version_2(tmp_path / "in", video_path=template), tmp_path / "out", CLIPS)
    assert set(codes(raised)) == {slug}


def test_a_camera_with_a_path_for_a_name_cannot_lead_elsewhere(tmp_path: Path):
    source = version_2(tmp_path / "in")
    write_json(source / "meta/info.json", info("v2.1", 2, cameras=("../../../x",)))
    with pytest.raises(BlockedError) as raised:
        convert(source, tmp_path / "out", CLIPS)
    assert codes(raised) == ["path_outside_dataset"]


def test_layout_2_0_is_read_like_2_1(tmp_path: Path):
    source = version_2(tmp_path / "in")
    write_json(source / "meta/info.json", info("v2.0", 2))
    assert convert(source, tmp_path / "out", CLIPS).records == 2


@pytest.mark.parametrize("version", ["v1.6", "v9.0"])
def test_other_layouts_are_named(tmp_path: Path, version):
    source = version_2(tmp_path / "in")
    write_json(source / "meta/info.json", info(version, 2))
    with pytest.raises(BlockedError, match=version):
        convert(source, tmp_path / "out", CLIPS)


def test_the_result_is_new_and_outside_of_the_source(tmp_path: Path):
    source = version_2(tmp_path / "in")
    (tmp_path / "out").mkdir()
    for target in (tmp_path / "out", source, source / "new"):
        with pytest.raises(ConflictError):
            convert(source, target, CLIPS)


def test_a_frame_of_odd_size_keeps_its_size(tmp_path: Path):
    source = version_2(tmp_path / "in", lengths=(4,), tasks=("Wave.",))
    video = source / f"videos/chunk-000/{TOP}/episode_000000.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 47, 31, "yuv444p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame(47, 31, "yuv444p")))
        container.mux(stream.encode())
    convert(source, tmp_path / "out", CLIPS)
    with av.open(str(tmp_path / "out/videos/episode_000000.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (47, 31)


def test_clips_are_upright_as_a_player_shows_the_video(tmp_path: Path):
    source = version_2(tmp_path / "in", lengths=(4,), tasks=("Wave.",))
    with_matrix(source / f"videos/chunk-000/{TOP}/episode_000000.mp4", (0, 1, -1, 0))
    convert(source, tmp_path / "out", CLIPS)
    with av.open(str(tmp_path / "out/videos/episode_000000.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height, frame.rotation) == (32, 48, 0)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n/etc/passwd\n", "ffconcat version 1.0\nfile x.mp4\n"]
)
def test_a_playlist_under_the_name_of_a_video_is_not_followed(tmp_path: Path, text):
    source = version_2(tmp_path / "in")
    (source / f"videos/chunk-000/{TOP}/episode_000001.mp4").write_text(text)
    with pytest.raises(BlockedError, match=r"episode_000001\.mp4"):
        convert(source, tmp_path / "out", CLIPS)


def test_a_video_with_a_variable_rate_is_refused(tmp_path: Path):
    source = version_2(tmp_path / "in", lengths=(5,), tasks=("Wave.",))
    clip(source / f"videos/chunk-000/{TOP}/episode_000000.mp4", [corners()] * 5, times=[0, 10, 20, 30, 70])
    with pytest.raises(BlockedError, match=r"frame 4 lies at 0\.7 s where 0\.4 s belongs"):
        convert(source, tmp_path / "out", CLIPS)


def test_a_task_that_would_be_read_as_a_medium_is_refused_in_records_and_kept_in_captions(tmp_path: Path):
    source = version_2(tmp_path / "in", lengths=(5,), tasks=("Watch the <video> now.",))
    with pytest.raises(BlockedError) as raised:
        convert(source, tmp_path / "out", ASKED)
    assert codes(raised) == ["answer_with_media"]
    convert(source, tmp_path / "out", CLIPS)
    assert (tmp_path / "out/metas/episode_000000.txt").read_text() == "Watch the <video> now.\n"


def test_without_a_decoder_the_extra_is_named(tmp_path: Path, monkeypatch):
    source = version_2(tmp_path / "in")
    monkeypatch.setattr(clip_index, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as raised:
        convert(source, tmp_path / "out", CLIPS)
    assert raised.value.problems[0].fix == "pip install 'tao-skill-bank[train]'"
    assert not (tmp_path / "out").exists()


def test_fields_of_episodes_without_a_place_are_counted(tmp_path: Path):
    done = convert(version_3(tmp_path / "in", change=lambda row: {**row, "success": True}), tmp_path / "out", CLIPS)
    assert left_out(done)["key success of meta/episodes"] == 4
    source = version_2(tmp_path / "in2")
    rows = (source / "meta/episodes.jsonl").read_text().replace('"length"', '"quality": 3, "length"')
    (source / "meta/episodes.jsonl").write_text(rows)
    assert left_out(convert(source, tmp_path / "out2", CLIPS))["key quality of episodes.jsonl"] == 2


def test_an_episode_outside_of_every_split_is_refused(tmp_path: Path):
    with pytest.raises(BlockedError, match=r"episode_000001 of .* is in 0 of the splits train"):
        convert(version_2(tmp_path / "in", splits={"train": "0:1"}), tmp_path / "out", CLIPS)


def test_tasks_by_number_are_looked_up_and_several_are_joined(tmp_path: Path):
    source = version_2(tmp_path / "in")
    rows = (source / "meta/episodes.jsonl").read_text().replace('["Lift the cup."]', "[0, 1]")
    (source / "meta/episodes.jsonl").write_text(rows)
    done = convert(source, tmp_path / "out", CLIPS)
    assert (tmp_path / "out/metas/episode_000000.txt").read_text() == "Lift the cup.; Push the box.\n"
    assert any(what.startswith("when each of several tasks") for what in left_out(done))
