import av
import numpy as np
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import video_file


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def test_pixels_become_frames_as_diffusers_rounds_them():
    pixels = torch.tensor([-1.5, -1.0, 0.0, 0.999, 1.0]).reshape(1, 1, 1, 5).expand(3, 2, 1, 5)
    frames = video_file.to_frames(pixels)
    assert frames.shape == (2, 1, 5, 3)
    assert frames[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_written_video_has_every_frame_at_its_rate(tmp_path):
    ramp = np.linspace(0, 255, 48, dtype=np.uint8)
    frames = np.broadcast_to(ramp[None, None, :, None], (9, 32, 48, 3)).copy()
    path = tmp_path / "videos" / "base" / "name.mp4"
    video_file.write(path, frames, 16)
    assert np.abs(frames_of(path) - frames).mean() < 3
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 16
    assert [file.name for file in path.parent.iterdir()] == ["name.mp4"]


def test_a_video_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "name.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(ValueError, match="dtype"):
        video_file.write(path, np.zeros((2, 32, 48, 3)), 16)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("name.mp4", b"the old one")]
