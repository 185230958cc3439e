"""What a checkpoint holds is said in JSON, whoever writes it and however."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from small_training import FACTS

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.training import checkpoint_contents

from .conftest import Train

SHAPES = {"0.weight": (12, 5), "0.bias": (12,), "3.weight": (3, 12), "3.bias": (3,)}


@pytest.mark.parametrize("in_background", [False, True])
def test_files_and_trained_weights_are_named(in_background: bool, train: Train, tmp_path: Path) -> None:
    assert train("run", epochs=1, in_background=in_background) == 0
    folder = tmp_path / "run" / "checkpoints" / "epoch_1"
    contents = checkpoint_contents.read(folder, FACTS)
    assert contents is not None
    assert contents.shapes == SHAPES
    assert contents.files == {name: (folder / name).stat().st_size for name in (".metadata", "__0_0.distcp")}
    document = json.loads((folder / "contents.json").read_text())
    assert document["weights"]["0.weight"] == {"shape": [12, 5], "dtype": "float32"}


def test_a_checkpoint_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert checkpoint_contents.read(tmp_path, FACTS) is None


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '{"files": {}}',
        '{"files": {}, "weights": []}',
        '{"files": {}, "weights": {"a": {"shape": 3}}}',
        '{"files": {"../random_0.pt": 3}, "weights": {}}',
        '{"files": {"/etc/hostname": 3}, "weights": {}}',
    ],
)
def test_contents_that_make_no_sense_are_a_broken_checkpoint(document: str, tmp_path: Path) -> None:
    (tmp_path / "contents.json").write_text(document)
    with pytest.raises(BlockedError, match=r"contents\.json is damaged") as caught:
        checkpoint_contents.read(tmp_path, FACTS)
    assert caught.value.problems[0].code == "checkpoint_broken"
