"""Turned clips, held against libavfilter as the ffmpeg command uses it."""

import shutil
import subprocess
from pathlib import Path

import av
import media_pool
import numpy as np
import pytest

from tao_skill_bank.data import constant_rate, media_probe
from tao_skill_bank.data.media import clip_frames, orientation
from tao_skill_bank.data.media.header import read_header

# The matrix a, b, c, d of a turn, and the filters by which ffmpeg shows it (`ffmpeg_filter.c`, autorotate).
TURNS = {
    "upright": ((1, 0, 0, 1), []),
    "right": ((0, 1, -1, 0), [("transpose", "clock")]),
    "upside down": ((-1, 0, 0, -1), [("hflip", ""), ("vflip", "")]),
    "left": ((0, -1, 1, 0), [("transpose", "cclock")]),
    "mirrored": ((-1, 0, 0, 1), [("hflip", "")]),
    "flipped": ((1, 0, 0, -1), [("vflip", "")]),
    "transposed": ((0, 1, 1, 0), [("transpose", "cclock_flip")]),
    "anti-transposed": ((0, -1, -1, 0), [("transpose", "clock_flip")]),
}


def turned(path: Path, turn: str) -> Path:
    return media_pool.with_matrix(media_pool.clip(path, [media_pool.corners()] * 4), TURNS[turn][0])


def shown_by_libavfilter(path: Path, filters: list[tuple[str, str]]) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=stream)]
        nodes += [graph.add(name, argument) if argument else graph.add(name) for name, argument in filters]
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        graph.push(next(container.decode(stream)))
        return graph.pull().to_ndarray(format="rgb24")


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_clip_is_shown_as_ffmpeg_shows_it(tmp_path, turn):
    path = turned(tmp_path / "clip.mp4", turn)
    shown = clip_frames.read(path, [0])[0]
    expected = shown_by_libavfilter(path, TURNS[turn][1])
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 1  # they turn before, we after the conversion to RGB
    header, probe = read_header(path, "video"), media_probe.probe(path, 10)
    assert shown.shape[:2] == (header.height, header.width) == (probe.height, probe.width)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command")
@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_clip_is_shown_as_the_ffmpeg_command_shows_it(tmp_path, turn):
    path = turned(tmp_path / "clip.mp4", turn)
    shown = clip_frames.read(path, [0])[0]
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    assert np.abs(shown.astype(int) - np.frombuffer(raw, np.uint8).reshape(shown.shape)).mean() < 1


def test_the_matrix_of_a_frame_gives_the_same_orientation_as_that_of_the_file(tmp_path):
    for turn, (matrix, _) in TURNS.items():
        path = turned(tmp_path / f"{turn}.mp4", turn)
        with av.open(str(path)) as container:
            of_frame = orientation.of_frame(next(container.decode(video=0)))
        a, b, c, d = matrix
        assert of_frame == orientation.of_matrix((a, b, 0, c, d, 0, 0, 0, 1)), turn


def test_a_turned_clip_in_a_container_without_such_boxes_is_upright(tmp_path):
    source = turned(tmp_path / "clip.mp4", "right")
    with av.open(str(source)) as given, av.open(str(tmp_path / "clip.mkv"), "w") as container:
        copied = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = copied
                container.mux(packet)
    shown = clip_frames.read(tmp_path / "clip.mkv", [0])[0]
    assert (shown == clip_frames.read(source, [0])[0]).all()
    header = read_header(tmp_path / "clip.mkv", "video")
    assert (header.height, header.width) == shown.shape[:2]


def test_pixels_that_are_not_square_are_stretched_before_the_turn(tmp_path):
    from fractions import Fraction

    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.corners()] * 4, aspect=Fraction(4, 3))
    assert clip_frames.read(path, [0])[0].shape == (64, 128, 3)
    media_pool.with_matrix(path, TURNS["right"][0])
    path = path.rename(tmp_path / "turned.mp4")
    shown = clip_frames.read(path, [0])[0]
    assert shown.shape == (128, 64, 3)
    assert shown[8, -8].argmax() == 0  # the red corner
    assert (read_header(path, "video").width, media_probe.probe(path, 10).width) == (64, 64)


def test_a_copy_at_a_constant_rate_is_upright(tmp_path):
    source = turned(tmp_path / "clip.mp4", "left")
    copy = constant_rate.write_copy(source, tmp_path / "copy.mp4").target
    expected, shown = (clip_frames.read(path, [1])[1].astype(int) for path in (source, copy))
    assert shown.shape == expected.shape == (96, 64, 3)
    assert np.abs(shown - expected).mean() < 6
