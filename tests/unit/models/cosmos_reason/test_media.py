"""Decoding of real files, and what happens with broken ones."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.media import read_image, read_video
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


def test_a_media_path_must_be_a_folder_or_an_archive(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    for path in (tmp_path / "clip.mp4", tmp_path / "none"):
        with pytest.raises(BlockedError):
            open_media(str(path), [])
