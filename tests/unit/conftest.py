"""Real datasets, made once and copied."""

import pytest
from preflight_worlds import make_record, write_annotations, write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A clip of 12 frames at 4 frames per second, 64x64."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def dataset(tmp_path, clip):
    """Make a dataset folder: `records`, and as many copies of the clip as there are videos."""

    def make(name="train", records=None, num_videos=4):
        root = tmp_path / name
        (root / "videos").mkdir(parents=True, exist_ok=True)
        for index in range(num_videos):
            (root / "videos" / f"{index}.mp4").write_bytes(clip.read_bytes())
        write_annotations(root, [make_record(index) for index in range(num_videos)] if records is None else records)
        return root

    return make
