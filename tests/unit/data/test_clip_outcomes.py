from concurrent.futures import ThreadPoolExecutor

import media_pool
import pytest

from tao_skill_bank.data import clip_outcomes, probing
from tao_skill_bank.data.headers import Budget
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.errors import BlockedError


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def videos(tmp_path):
    """Six clips, of which the last is broken and the fifth ends before its index says."""
    source = media_pool.clip(tmp_path / "source.mp4", is_index_first=True).read_bytes()
    folder = tmp_path / "clips"
    folder.mkdir()
    paths = [folder / f"{number}.mp4" for number in range(6)]
    for path in paths:
        path.write_bytes(source)
    paths[4].write_bytes(source[: -len(source) // 4])
    paths[5].write_bytes(b"broken")
    return paths


def probe(videos, num_decoded, budget=None):
    with ThreadPoolExecutor(2) as pool:
        return clip_outcomes.probe(str(videos[0].parent), videos, pool, 60, budget or Budget(), num_decoded)


@pytest.mark.parametrize("num_decoded", [1, 6])
def test_clips_that_are_not_decoded_end_as_those_that_are(videos, num_decoded):
    found = probe(videos, num_decoded)
    assert list(found.outcomes) == videos
    usable = [video.stem for video in videos if found.is_usable(video, 20)]
    assert usable == ["0", "1", "2", "3"]
    blocked = [*found.unreadable(), *found.truncated()]
    assert sorted(name for finding in blocked for name in finding.evidence["files"]) == ["4.mp4", "5.mp4"]
    assert [found.frames[video] for video in videos[:4]] == [20] * 4


def test_decoded_clips_are_evenly_spread(videos, monkeypatch):
    decoded = []
    every = probing.probe_all
    monkeypatch.setattr(probing, "probe_all", lambda files, *rest: decoded.extend(files) or every(files, *rest))
    found = probe(videos, 2)
    assert [video.stem for video in decoded] == ["0", "2"]
    assert all(isinstance(outcome, (MediaProbe, BlockedError)) for outcome in found.outcomes.values())


def test_clips_that_were_not_reached_are_not_called_broken(videos):
    found = probe(videos, 0, Budget(0))
    assert (found.outcomes, found.unreadable(), found.truncated()) == ({}, [], [])
    assert found.is_usable(videos[5], 20)
    assert [(finding.code, finding.severity, finding.evidence["count"]) for finding in found.left] == [
        ("headers_not_read", "not_checked", 6)
    ]
