"""What preflight passes the trainer decodes, and what the trainer refuses preflight refuses."""

from pathlib import Path

import media_pool
import pytest

from tao_skill_bank.data import media_probe
from tao_skill_bank.data.media.header import read_header
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import clips
from tao_skill_bank.models.cosmos_reason import media
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling

VIDEOS = {**media_pool.SOUND_VIDEOS, **media_pool.BROKEN_VIDEOS}
IMAGES = {**media_pool.SOUND_IMAGES, **media_pool.BROKEN_IMAGES}


def refusal(read, *arguments) -> str:
    """Return the message of the error with which a file is refused; empty when it is read."""
    try:
        read(*arguments)
    except BlockedError as error:
        return error.problems[0].message
    return ""


def probe_refusal(path: Path, kind: str) -> str:
    outcome = media_probe.probe_in_children([path], 60, kind=kind)[path]
    if isinstance(outcome, BlockedError):
        return outcome.problems[0].message
    return "" if outcome.is_whole else "cut short"


@pytest.mark.parametrize("name", VIDEOS)
def test_a_clip_ends_the_same_in_preflight_and_in_both_trainers(tmp_path, name):
    path = tmp_path / name
    VIDEOS[name](path)
    preflight = probe_refusal(path, "video")
    reason = refusal(media.read_video, path, VideoSampling(fps=5.0))
    predict = refusal(lambda: clips.load_window(path, 0, clips.frame_count(path), (32, 48)))
    assert bool(preflight) == bool(reason) == bool(predict) == (name in media_pool.BROKEN_VIDEOS)
    assert name in reason or not reason
    assert "Traceback" not in preflight


@pytest.mark.parametrize("name", IMAGES)
def test_a_picture_ends_the_same_in_preflight_and_in_the_trainer(tmp_path, name):
    path = tmp_path / name
    IMAGES[name](path)
    preflight = probe_refusal(path, "image")
    reason = refusal(media.read_image, path, VideoSampling())
    assert preflight == reason
    assert bool(reason) == (name in media_pool.BROKEN_IMAGES)
    assert name in reason or not reason


@pytest.mark.parametrize(
    ("kind", "name"),
    [("video", name) for name in media_pool.SOUND_VIDEOS] + [("image", name) for name in media_pool.SOUND_IMAGES],
)
def test_the_header_says_what_is_decoded(tmp_path, kind, name):
    path = tmp_path / name
    (VIDEOS if kind == "video" else IMAGES)[name](path)
    header, probe = read_header(path, kind), media_probe.probe(path, 60, kind)
    assert (header.width, header.height) == (probe.width, probe.height)
    assert header.is_animated == probe.is_animated
    assert header.num_frames == pytest.approx(probe.num_frames, abs=1)
    assert header.duration_seconds == pytest.approx(probe.duration_seconds, abs=0.2)


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("pointer.mp4", "media_lfs_pointer", "git lfs pull"),
        ("hls.mp4", "media_playlist", "HLS playlist"),
        ("concat.mp4", "media_playlist", "ffconcat playlist"),
        ("page.mp4", "media_unreadable", "it is text, not a video"),
        ("utf16.mp4", "media_unreadable", "it is text, not a video"),
        ("empty.mp4", "media_unreadable", "it is empty"),
        ("half_copied.mp4", "media_unreadable", "cut short"),
        ("cut_short.mp4", "media_cut_short", "15 of the 30 frames"),
        ("picture.mp4", "media_is_picture", "a picture, not a video"),
        ("narrow.mp4", "aspect_ratio", "602x2"),
        ("tilted.mp4", "media_unreadable", "turned by 45 degrees"),
    ],
)
def test_a_broken_clip_is_refused_with_its_reason(tmp_path, name, code, told):
    path = tmp_path / name
    VIDEOS[name](path)
    with pytest.raises(BlockedError) as caught:
        media.read_video(path, VideoSampling(nframes=2))
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == (code, str(path))
    assert told in problem.message
    assert problem.fix


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("pointer.png", "media_lfs_pointer", "git lfs pull"),
        ("cut_short.jpg", "media_cut_short", "cut short"),
        ("cut_short.png", "media_cut_short", "cut short"),
        ("bomb.png", "media_too_large", "192 million pixels"),
        ("narrow.png", "aspect_ratio", "3000x10"),
        ("nan.tiff", "media_unreadable", "not finite"),
        ("metres.tiff", "media_unreadable", "17.5"),
        ("drawing.svg", "media_unreadable", "it is text, not a picture"),
        ("clip.png", "media_unreadable", "not a picture"),
    ],
)
def test_a_broken_picture_is_refused_with_its_reason(tmp_path, name, code, told):
    path = tmp_path / name
    IMAGES[name](path)
    with pytest.raises(BlockedError) as caught:
        media.read_image(path, VideoSampling())
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == (code, str(path))
    assert told in problem.message
