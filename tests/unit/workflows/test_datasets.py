from pathlib import Path

import pytest

from tao_skill_bank.workflows import datasets
from tao_skill_bank.workflows.datasets import Dataset


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "annotations.json").write_text("[]")
    return tmp_path / "data"


def test_a_folder_holds_its_annotations_and_media(folder):
    assert datasets.placed(str(folder)) == Dataset(folder / "annotations.json", folder)


def test_media_of_an_annotation_file_are_next_to_it_unless_they_are_named(folder, tmp_path):
    file = str(folder / "annotations.json")
    assert datasets.placed(file) == Dataset(Path(file), folder)
    assert datasets.placed(file, str(tmp_path)) == Dataset(Path(file), tmp_path)


def test_both_may_be_named(folder, tmp_path):
    named = {"annotation_path": str(folder / "annotations.json"), "media_path": str(tmp_path)}
    assert datasets.placed(named) == Dataset(folder / "annotations.json", tmp_path)
