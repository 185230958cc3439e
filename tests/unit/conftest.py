"""Real datasets, made once and copied."""

import pytest
from preflight_worlds import write_clip, write_dataset


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A clip of 12 frames at 4 frames per second, 64x64."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def dataset(tmp_path, clip):
    """Make a dataset folder: `records`, and as many copies of the clip as there are videos."""

    def make(name="train", records=None, num_videos=4):
        return write_dataset(tmp_path / name, clip, records, num_videos)

    return make
