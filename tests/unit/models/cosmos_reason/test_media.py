"""Decoding of real files, and what happens with broken ones."""

import io
import tarfile
from pathlib import Path

import media_pool
import numpy as np
import pytest
import torch

from tao_skill_bank.data import media_probe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import record_tokens, tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.media import read_frames, read_image, read_video
from tao_skill_bank.models.cosmos_reason.media_store import open_media
from tao_skill_bank.samples.vlm import write_video


@pytest.fixture
def counting_clip(tmp_path: Path) -> Path:
    """Frame i is grey of value 20 x i."""
    values = np.arange(12, dtype=np.uint8) * 20
    write_video(tmp_path / "clip.mp4", np.broadcast_to(values[:, None, None, None], (12, 64, 64, 3)).copy(), 4)
    return tmp_path / "clip.mp4"


def _values(pixels: torch.Tensor) -> list[int]:
    return [round(float(frame.float().mean()) / 20) for frame in pixels]


def test_the_sampled_frames_are_the_ones_decoded(counting_clip: Path) -> None:
    frames = read_video(counting_clip, VideoSampling(nframes=4))
    assert _values(frames.pixels) == [0, 4, 7, 11]
    assert frames.timestamps == (0.5, 2.25)


def test_the_records_frame_rate_wins_over_the_containers(counting_clip: Path) -> None:
    frames = read_video(counting_clip, VideoSampling(nframes=4), frames_per_second=1.0)
    assert frames.timestamps == (2.0, 9.0)
    assert len(read_video(counting_clip, VideoSampling(fps=1.0), frames_per_second=1.0).pixels) == 12


def test_frames_are_resized_into_the_budget(counting_clip: Path) -> None:
    frames = read_video(counting_clip, VideoSampling(nframes=4, total_pixels=4 * 32 * 32))
    assert frames.pixels.shape == (4, 3, 32, 32)


def test_a_broken_or_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for name in ("broken.mp4", "none.mp4"):
        with pytest.raises(BlockedError, match=name):
            read_video(tmp_path / name, VideoSampling(nframes=2))
    with pytest.raises(BlockedError, match=r"broken\.mp4"):
        read_image(tmp_path / "broken.mp4", VideoSampling())


def test_a_clip_with_a_variable_rate_has_its_frames_own_times(tmp_path: Path) -> None:
    times = [0, 10, 20, 70, 80, 160, 170, 300, 310, 320]
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(i) for i in range(10)], times=times)
    for rate in (None, 10.0):
        frames = read_video(path, VideoSampling(nframes=10), frames_per_second=rate)
        assert frames.timestamps == pytest.approx((0.05, 0.45, 1.2, 2.35, 3.15))
    ranged = read_video(path, VideoSampling(nframes=2, video_start=0.65, video_end=1.65))
    assert [media_pool.number_of(frame.numpy()) for frame in ranged.pixels] == [3, 5]
    assert ranged.timestamps == pytest.approx(((0.7 + 1.6) / 2,))


def test_the_tokens_of_a_variable_rate_are_predicted_exactly(tmp_path: Path) -> None:
    times = [0, 10, 20, 70, 80, 160, 170, 300, 310, 1250]
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(i) for i in range(10)], times=times)
    vision = {"fps": 2.0}
    frames = read_video(path, VideoSampling(**vision))
    record = {"video": "clip.mp4", "video_fps": 10.0}
    for probe in (media_probe.probe(path, 10), media_probe.probe_header(path, "video")):
        predicted = record_tokens.feature_tokens({"custom": {"vision": vision}}, record, [probe])
        time, rows, columns = frames.grid(tokens.QWEN3_VL)
        assert predicted == time * rows * columns // 4
        medium = Media("video", "clip.mp4", rate=10.0)
        times_shown, _ = record_tokens.video_layout_of(VideoSampling(**vision), medium, probe, tokens.QWEN3_VL)
        assert times_shown == pytest.approx(frames.timestamps)


def test_a_turned_clip_is_upright_and_its_size_predicted(tmp_path: Path) -> None:
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.corners()] * 4)
    media_pool.with_matrix(path, (0, 1, -1, 0))
    frames = read_video(path, VideoSampling(nframes=4))
    assert frames.pixels.shape == (4, 3, 96, 64)
    assert frames.pixels[0, :, 8, -8].argmax() == 0
    assert frames.pixels[0, :, 8, 8].min() > 200  # the white corner
    probe = media_probe.probe(path, 10)
    assert (probe.width, probe.height) == (64, 96)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Eight pictures, of which number i has the brightness of number i."""
    from PIL import Image

    paths = [tmp_path / f"{index}.png" for index in range(8)]
    for index, path in enumerate(paths):
        Image.fromarray(media_pool.numbered(index)).save(path)
    return paths


def test_a_list_of_pictures_is_sampled_as_the_clip_that_it_is(pictures: list[Path], tmp_path: Path) -> None:
    shown = read_frames(pictures, VideoSampling(nframes=4), frames_per_second=2.0)
    assert [media_pool.number_of(frame.numpy()) for frame in shown.pixels] == [0, 2, 5, 7]
    assert shown.timestamps == (0.5, 3.0)
    path = media_pool.clip(tmp_path / "clip.mp4", [media_pool.numbered(index) for index in range(8)], rate=2)
    for vision in (VideoSampling(fps=1.0), VideoSampling(fps=1.0, video_start=1.0, video_end=3.0)):
        frames, clip = read_frames(pictures, vision, frames_per_second=2.0), read_video(path, vision)
        assert frames.timestamps == clip.timestamps
        assert frames.pixels.shape == clip.pixels.shape


def test_sampled_pictures_are_all_shown_at_their_own_times(pictures: list[Path]) -> None:
    indices = [0, 4, 9, 30, 31, 32, 40, 90]
    shown = read_frames(pictures, VideoSampling(fps=1.0), frames_per_second=10.0, indices=indices)
    assert [media_pool.number_of(frame.numpy()) for frame in shown.pixels] == list(range(8))
    assert shown.timestamps == pytest.approx((0.2, 1.95, 3.15, 6.5))


def test_a_list_of_pictures_that_is_no_clip_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    def read(paths: list[Path], rate: float | None = 2.0, indices: list[int] | None = None) -> None:
        read_frames(paths, VideoSampling(nframes=4), frames_per_second=rate, indices=indices)

    for indices in ([0, 1], list(range(8))[::-1], [-1, *range(7)]):
        with pytest.raises(BlockedError, match="frame indices"):
            read(pictures, indices=indices)
    with pytest.raises(BlockedError, match="no frame rate"):
        read(pictures, rate=None)
    with pytest.raises(BlockedError, match="fewer than nframes"):
        read(pictures[:3])
    with pytest.raises(BlockedError, match="as pictures has none"):
        read([])
    Image.new("RGB", (32, 64)).save(pictures[7])
    with pytest.raises(BlockedError, match=r"7\.png cannot be used: it has 32x64 pixels"):
        read(pictures)
    pictures[7].unlink()
    with pytest.raises(BlockedError, match=r"7\.png does not exist"):
        read(pictures)


def _archive(path: Path, members: dict[str, bytes], link: tuple[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def test_only_the_named_members_of_an_archive_are_taken(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "videos.tar.gz", {"./a.mp4": b"a", "deep/b.mp4": b"b", "c.mp4": b"c"})
    folder = open_media(str(archive), ["a.mp4", "deep/b.mp4"])
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mp4")) == ["a.mp4", "deep/b.mp4"]
    first = (folder / "a.mp4").stat().st_mtime_ns
    assert open_media(str(archive), ["a.mp4", "c.mp4"]) == folder
    assert (folder / "a.mp4").stat().st_mtime_ns == first
    assert (folder / "c.mp4").read_bytes() == b"c"


def test_a_changed_archive_is_extracted_anew(tmp_path: Path) -> None:
    folder = open_media(str(_archive(tmp_path / "videos.tar.gz", {"a.mp4": b"old"})), ["a.mp4"])
    other = open_media(str(_archive(tmp_path / "videos.tar.gz", {"a.mp4": b"newer"})), ["a.mp4"])
    assert (folder / "a.mp4").read_bytes() == b"old"
    assert (other / "a.mp4").read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.mp4", "a/../../outside.mp4"])
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    archive = _archive(tmp_path / "videos.tar.gz", {name: b"x"})
    with pytest.raises(BlockedError):
        open_media(str(archive), [name])
    assert not (tmp_path / "outside.mp4").exists()


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "videos.tar.gz", {}, link=("a.mp4", "/etc/passwd"))
    with pytest.raises(BlockedError, match="lacks 1 media files"):
        open_media(str(archive), ["a.mp4"])


def test_a_damaged_archive_leaves_no_media_that_a_later_run_would_take(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "videos.tar.gz", {"a.mp4": b"x", "b.mp4": b"y"})
    body = bytearray(archive.read_bytes())
    body[-6] ^= 0xFF  # of the checksum
    archive.write_bytes(body)
    for _ in range(2):
        with pytest.raises(BlockedError, match="cannot be read: CRC"):
            open_media(str(archive), ["a.mp4"])


def test_an_archive_needs_a_state_folder_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _archive(tmp_path / "videos.tar.gz", {"a.mp4": b"x"})
    monkeypatch.setenv("TAO_STATE_DIR", str(archive / "state"))
    with pytest.raises(BlockedError, match="cannot be extracted") as caught:
        open_media(str(archive), ["a.mp4"])
    assert "TAO_STATE_DIR" in caught.value.problems[0].fix


def test_a_media_path_must_be_a_folder_or_an_archive(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    for path in (tmp_path / "clip.mp4", tmp_path / "none"):
        with pytest.raises(BlockedError):
            open_media(str(path), [])
