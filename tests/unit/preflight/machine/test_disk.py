import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from preflight_worlds import codes, make_job, only

from tao_skill_bank.preflight.machine import disk
from tao_skill_bank.preflight.model.feature_cache import FeatureCache
from tao_skill_bank.preflight.model.inspection import Inspection

GIB = 2**30


@pytest.fixture
def findings_of(tmp_path, monkeypatch):
    def run(*, free=100 * GIB, per_checkpoint=10 * GIB, **workload):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        return disk.check(make_job(tmp_path, **workload), Inspection({"checkpoint_bytes": per_checkpoint}))

    return run


def test_checkpoints_that_fit_are_reported(findings_of):
    found = only(findings_of(max_checkpoints=2, epochs=10), "disk")
    assert found.evidence == {"needed_bytes": 40 * GIB, "free_bytes": 100 * GIB, "checkpoints": 4}


@pytest.mark.parametrize(("kept", "saves", "checkpoints"), [(2, 10, 4), (8, 3, 3), (-1, 10, 10), (1, 1, 1), (2, 3, 3)])
def test_the_disk_holds_what_is_kept_the_best_and_the_one_being_written(findings_of, kept, saves, checkpoints):
    found = findings_of(max_checkpoints=kept, epochs=20, num_saves=saves, free=1000 * GIB)
    assert only(found, "disk").evidence["checkpoints"] == checkpoints


def test_checkpoints_that_do_not_fit_block_with_the_number_that_does(findings_of):
    found = only(findings_of(max_checkpoints=8, epochs=20, free=45 * GIB), "disk_too_small")
    assert found.severity == "blocking"
    assert "keep at most 2 checkpoints" in found.fix


@pytest.mark.parametrize(("free", "fix"), [(25, "save at most 2 times"), (5, "write no checkpoints")])
def test_a_disk_for_few_checkpoints_names_another_fix(findings_of, free, fix):
    found = only(findings_of(max_checkpoints=8, epochs=20, free=free * GIB), "disk_too_small")
    assert fix in found.fix


def test_a_run_without_checkpoints_needs_no_space(findings_of):
    assert findings_of(max_checkpoints=0, free=0) == []


def test_a_file_in_the_place_of_the_results_folder_blocks(tmp_path):
    (tmp_path / "results").write_text("")
    assert codes(disk.check(make_job(tmp_path), Inspection()), "blocking") == ["results_dir_unwritable"]


def test_a_file_in_the_place_of_a_parent_folder_blocks(tmp_path):
    (tmp_path / "file").write_text("")
    found = disk.check(make_job(tmp_path / "file" / "deeper"), Inspection())
    assert codes(found, "blocking") == ["results_dir_unwritable"]
    assert str(tmp_path / "file") in found[0].message


def test_a_read_only_results_folder_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    assert codes(disk.check(make_job(tmp_path), Inspection()), "blocking") == ["results_dir_unwritable"]


def test_the_results_folder_is_not_created(tmp_path):
    assert disk.check(make_job(tmp_path), Inspection()) == []
    assert not (tmp_path / "results").exists()


@pytest.fixture
def findings_with_features(tmp_path, monkeypatch):
    def run(features, *, free=100 * GIB, there=0, is_required=False, is_here=True, kept_checkpoints=2):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        folder = tmp_path / "features"
        (folder / "ab").mkdir(parents=True, exist_ok=True)
        with (folder / "ab" / "clip.safetensors").open("wb") as file:
            file.truncate(there)  # a hole in the file takes no room
        fix = "Set train.train_policy.vision_feature_cache=off."
        cache = FeatureCache(600, features, folder if is_here else None, 10 * GIB, is_required, fix)
        job = make_job(tmp_path, max_checkpoints=kept_checkpoints, epochs=10)
        return disk.check(job, Inspection({"checkpoint_bytes": 10 * GIB}), cache)

    return run


def test_the_feature_cache_counts_in_addition_to_the_checkpoints(findings_with_features):
    (found,) = findings_with_features(50 * GIB)
    assert (found.code, found.evidence["needed_bytes"], found.evidence["feature_bytes"]) == ("disk", 90 * GIB, 50 * GIB)
    assert "vision features of 600 media take about 50.0 GiB" in found.message


def test_features_alone_are_reported_of_a_run_without_checkpoints(findings_with_features):
    (found,) = findings_with_features(50 * GIB, kept_checkpoints=0)
    assert found.message.startswith("Vision features of 600 media take about 50.0 GiB in ")


def test_checkpoints_and_features_that_do_not_fit_block_with_the_fix_of_both(findings_with_features):
    (found,) = findings_with_features(70 * GIB)
    assert (found.code, found.severity) == ("disk_too_small", "blocking")
    assert "save at most 3 times" in found.fix or "keep at most 1 checkpoints" in found.fix
    assert found.fix.endswith("Set train.train_policy.vision_feature_cache=off.")


def test_features_that_may_be_there_already_warn_only(findings_with_features):
    (found,) = findings_with_features(70 * GIB, there=70 * GIB)
    assert (found.code, found.severity) == ("disk_tight", "warning")


def test_a_run_that_insists_on_features_is_blocked_where_they_do_not_fit(findings_with_features):
    found = only(findings_with_features(95 * GIB, is_required=True), "feature_disk_too_small")
    assert (found.severity, found.fix) == ("blocking", "Set train.train_policy.vision_feature_cache=off.")
    there = findings_with_features(95 * GIB, is_required=True, there=95 * GIB)
    assert only(there, "feature_disk_tight").severity == "warning"


def test_a_run_that_may_do_without_features_is_warned_and_its_checkpoints_are_counted_alone(findings_with_features):
    found = findings_with_features(95 * GIB)
    assert "does without" in only(found, "feature_disk_tight").message
    assert only(found, "disk").evidence["needed_bytes"] == 40 * GIB


def test_features_on_machines_elsewhere_are_reported_and_not_compared(findings_with_features):
    found = findings_with_features(95 * GIB, is_here=False)
    assert only(found, "feature_disk_not_checked").evidence["needed_bytes"] == 95 * GIB
    assert only(found, "disk").evidence["needed_bytes"] == 40 * GIB


def test_results_of_which_nothing_is_here_are_not_visible_where_the_job_runs_elsewhere(tmp_path):
    job = make_job(tmp_path)
    job = replace(job, results_dir="/lustre-not-here/lab/run")
    found = only(disk.check(job, Inspection(), runs_here=False), "results_not_visible")
    assert found.severity == "warning"
    assert found.blocks_run == (not os.access("/", os.W_OK))


def test_results_whose_parent_is_a_file_block_wherever_the_job_runs(tmp_path):
    (tmp_path / "file").write_text("")
    job = replace(make_job(tmp_path), results_dir=str(tmp_path / "file" / "run"))
    for runs_here in (True, False):
        assert codes(disk.check(job, Inspection(), runs_here=runs_here), "blocking") == ["results_dir_unwritable"]
