"""What a training would keep on disk, beside what it does keep."""

import pytest
from preflight_worlds import QuietPlatform, look, make_job, make_record, use_of, write_clip

from tao_skill_bank import preflight
from tao_skill_bank.core import settings
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.preflight.model import feature_cache
from tao_skill_bank.preflight.model.inspection import Inspection

TOLD = {"bytes_per_token": 1000, "required": True, "spare_bytes": 5, "cure": "Do."}


def probed(size, name="a.mp4"):
    probe = MediaProbe(size, size, 8, 8, 8, duration_seconds=2, container_fps=4, has_variable_rate=False)
    return Probed(0, make_record(0, video=name), (Media("video", name),), (probe,))


@pytest.fixture
def estimated(tmp_path, dataset):
    def run(sampled, told=TOLD, *, runs_here=True, **made):
        use = use_of(dataset(**made))
        job = make_job(tmp_path, use, spec={"custom": {"vision": {"nframes": 8}}})
        seen, _ = look(use)
        return feature_cache.estimate(job, Inspection({"kept_features": told}), seen, sampled, runs_here=runs_here)

    return run


def test_every_medium_counts_once_by_the_mean_of_the_sampled_ones(estimated):
    records = [make_record(index, video=f"videos/{index % 3}.mp4") for index in range(7)]
    kept = estimated([probed(64), probed(128)], records=records)
    assert kept.num_media == 3
    assert kept.num_bytes == 3 * 1000 * (4 * 2**2 + 4 * 4**2) // 2  # 4 pairs of frames of 2x2 and of 4x4 tokens
    assert (kept.folder, kept.spare_bytes, kept.is_required) == (settings.features_dir(), 5, True)


def test_machines_elsewhere_have_no_folder_to_look_at(estimated):
    assert estimated([probed(64)], runs_here=False).folder is None


@pytest.mark.slow
def test_nothing_is_estimated_for_a_model_that_keeps_nothing_or_without_sampled_media(estimated):
    assert estimated([probed(64)], told=None) is None
    assert estimated([]) is None


@pytest.mark.slow
def test_preflight_of_a_training_tells_the_room_of_its_features(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))
    use = use_of(dataset())
    write_clip(tmp_path / "clip.mp4")
    custom = {"train_dataset": use.paths}
    spec = {
        "policy": {"model_name_or_path": "builtin://tiny-cosmos-reason", "lora": {"r": 4}},
        "custom": custom | {"vision": {"fps": 2.0}},
        "train": {"epoch": 3, "train_policy": {"conversation_column_name": "conversations"}},
    }
    found = preflight.run(make_job(tmp_path, use, spec=spec), QuietPlatform())
    (disk,) = [finding for finding in found if finding.code == "disk"]
    assert (disk.evidence["media"], disk.evidence["feature_bytes"] > 0) == (4, True)
    assert "vision features of 4 media" in disk.message
