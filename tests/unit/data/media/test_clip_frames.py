"""Which frames a clip shows, and when."""

from dataclasses import replace

import media_pool
import pytest
from media_pool import number_of

from tao_skill_bank.data import media_probe
from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.data.media.clip_index import clip_index
from tao_skill_bank.data.media.header import read_header
from tao_skill_bank.errors import BlockedError

TIMES = [0, 10, 20, 70, 80, 160, 170, 300, 310, 320]


def numbers(path, seek=False):
    frames = clip_frames.iterate(path, range(len(clip_index(path))), seek=seek)
    return [(position, number_of(pixels)) for position, pixels in frames]


@pytest.mark.parametrize("name", [name for name in media_pool.SOUND_VIDEOS if name != "variable.mp4"])
def test_all_frames_are_shown_in_order_whatever_the_container(tmp_path, name):
    media_pool.SOUND_VIDEOS[name](tmp_path / name)
    assert numbers(tmp_path / name) == [(index, index) for index in range(20)]


@pytest.mark.parametrize("start", range(0, 20, 3))
@pytest.mark.parametrize("name", ["b_frames.mp4", "b_frames.avi", "stream.ts", "matroska.mkv"])
def test_a_seek_changes_no_frame(tmp_path, name, start):
    media_pool.SOUND_VIDEOS[name](tmp_path / name)
    frames = clip_frames.read(tmp_path / name, [start, 19], seek=True)
    assert {position: number_of(pixels) for position, pixels in frames.items()} == {start: start, 19: 19}


def test_frames_that_an_edit_list_hides_are_neither_shown_nor_missing(tmp_path):
    source = media_pool.clip(tmp_path / "source.mp4", options={"g": "8", "bf": "2"})
    path = media_pool.trimmed(source, tmp_path / "trimmed.mp4", 1.3)
    assert [number for _, number in numbers(path)] == list(range(13, 20))
    probe = media_probe.probe(path, 10)
    assert (probe.num_frames, probe.decoded_frames, probe.is_whole) == (7, 7, True)
    assert clip_index(path).seconds == pytest.approx([index / 10 for index in range(7)])
    assert read_header(path, "video").num_frames == 7


def test_the_times_of_a_variable_rate_are_the_frames_own(tmp_path):
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(i) for i in range(10)], times=TIMES)
    index = clip_index(path)
    assert index.has_variable_rate
    assert index.seconds == pytest.approx([time / 100 for time in TIMES])
    assert index.rate == pytest.approx(9 / 3.2)
    probe = media_probe.probe_in_children([path], 30)[path]
    assert probe.frame_seconds == pytest.approx(index.seconds)
    assert read_header(path, "video").is_variable
    assert not read_header(media_pool.clip(tmp_path / "even.mp4", options={"bf": "2"}), "video").is_variable


@pytest.fixture
def with_silent_packets(monkeypatch, tmp_path):
    """A clip of 100 frames, and that many packets more, each just after a frame, that decode to nothing."""

    def make(positions):
        path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(i % 20) for i in range(100)])
        index = clip_index(path)
        ticks = sorted([*index.ticks, *(index.ticks[position] + 1 for position in positions)])
        monkeypatch.setattr(clip_frames, "whole_clip_index", lambda _: replace(index, ticks=tuple(ticks)))
        return path

    return make


def test_a_frame_that_decodes_to_nothing_shows_the_one_before_it(with_silent_packets):
    path = with_silent_packets([59])
    frames = clip_frames.read(path, range(101))
    assert [number_of(frames[position]) for position in (58, 59, 60, 61, 100)] == [18, 19, 19, 0, 19]
    for start in (59, 60, 61):
        assert (clip_frames.read(path, [start], seek=True)[start] == frames[start]).all()


def test_too_many_such_frames_are_refused(with_silent_packets):
    path = with_silent_packets([30, 60, 99])
    with pytest.raises(BlockedError, match="3 of its 103 frames") as caught:
        clip_frames.read(path, range(103))
    assert caught.value.problems[0].code == "media_frames_broken"


def test_a_changed_clip_is_read_again(tmp_path):
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(i) for i in range(4)])
    assert len(clip_index(path)) == 4
    media_pool.clip(path, [media_pool.numbered(i) for i in range(9)])
    assert len(clip_index(path)) == 9


def test_frames_that_a_clip_does_not_have_are_refused(tmp_path):
    path = media_pool.clip(tmp_path / "clip.mp4")
    with pytest.raises(BlockedError, match="has 20 frames; frames 18 to 20 were requested"):
        clip_frames.read(path, [18, 20])
    assert clip_frames.read(path, []) == {}


def test_a_clip_whose_data_are_damaged_is_refused(tmp_path):
    path = media_pool.clip(tmp_path / "clip.mp4", codec="mjpeg")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    data[start : start + 3000] = b"\xab" * 3000
    path.write_bytes(data)
    with pytest.raises(BlockedError, match=r"clip\.mp4"):
        numbers(path)
    assert isinstance(media_probe.probe_in_children([path], 30)[path], BlockedError)
