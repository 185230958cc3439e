"""Real clips, made once."""

import pytest
from mining_pools import write_clips


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Return the paths of 12 different clips of a pool and of 3 of a KPI set."""
    folder = tmp_path_factory.mktemp("mining")
    return write_clips(folder / "pool", 12), write_clips(folder / "kpi", 3, seed=7)


@pytest.fixture
def pool_clips(clips):
    return clips[0]


@pytest.fixture
def kpi_clips(clips):
    return clips[1]
