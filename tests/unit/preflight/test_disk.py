import os
import shutil
from types import SimpleNamespace

import pytest
from preflight_worlds import codes, make_job, only

from tao_skill_bank.preflight import disk
from tao_skill_bank.preflight.inspection import Inspection

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


@pytest.mark.parametrize(("free", "cure"), [(25, "save at most 2 times"), (5, "write no checkpoints")])
def test_a_disk_for_few_checkpoints_names_another_cure(findings_of, free, cure):
    found = only(findings_of(max_checkpoints=8, epochs=20, free=free * GIB), "disk_too_small")
    assert cure in found.fix


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
