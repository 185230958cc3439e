"""What a library writes for its owner alone gets the permissions of the umask, wherever models and data are written."""

import ast
import os
import stat
from pathlib import Path

import pytest

import tao_skill_bank
from tao_skill_bank.core import umask

WRITERS = {"save_file", "save_lora_weights"}  # of safetensors; `save_pretrained` of a model calls them
SOURCE = Path(tao_skill_bank.__file__).parent


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def current(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def private(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["model.safetensors", "transformer/model-00001.safetensors"])
def test_weights_in_a_folder_follow_the_umask(tmp_path, current, name):
    weights = private(tmp_path / "model" / name)
    umask.follow(tmp_path / "model")
    assert mode(weights) == 0o666 & ~current
    assert [path.name for path in (tmp_path / "model").rglob("*") if path.is_file()] == [weights.name]


def test_a_file_follows_the_umask(tmp_path, current):
    umask.follow(private(tmp_path / "features"))
    assert mode(tmp_path / "features") == 0o666 & ~current


def test_files_of_another_model_and_other_modes_stay_as_they_are(tmp_path):
    shared, chosen = private(tmp_path / "base" / "a.safetensors"), tmp_path / "model" / "b.safetensors"
    private(chosen).chmod(0o640)
    (tmp_path / "model" / "a.safetensors").hardlink_to(shared)
    (tmp_path / "model" / "c.safetensors").symlink_to(private(tmp_path / "base" / "c.safetensors"))
    umask.follow(tmp_path / "model")
    assert (mode(shared), mode(chosen), mode(tmp_path / "base" / "c.safetensors")) == (0o600, 0o640, 0o600)


def _calls(path: Path) -> dict[str, bool]:
    """Return the functions of a module that write safetensors, and whether each of them follows the umask."""
    found: dict[str, bool] = {}
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if "save_" in text else ():
        if not isinstance(node, ast.FunctionDef):
            continue
        called = [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
        saves = [name for name in called if name.rpartition(".")[2] in WRITERS or _saves_model(name)]
        if saves:
            found[f"{path.parent.name}/{path.stem}.{node.name}"] = "umask.follow" in called or "write_whole" in called
    return found


def _saves_model(name: str) -> bool:
    owner, _, method = name.rpartition(".")
    return method == "save_pretrained" and owner not in ("tokenizer", "config")


def test_every_function_that_writes_safetensors_follows_the_umask():
    found = {name: follows for path in SOURCE.rglob("*.py") for name, follows in _calls(path).items()}
    assert len(found) >= 9, found
    assert all(found.values()), found


def test_features_of_media_can_be_read_by_others(tmp_path):
    import torch

    from tao_skill_bank.models.cosmos_reason import feature_file
    from tao_skill_bank.models.cosmos_reason.media import Features

    feature_file.write(tmp_path / "cache" / "a.safetensors", Features(torch.zeros(4, 2), (1, 2, 2), (0.5,)))
    assert [mode(path) for path in (tmp_path / "cache").iterdir()] == [0o666 & ~_umask()]


def test_a_sample_dataset_can_be_read_by_others(tmp_path):
    from tao_skill_bank.samples import _folder

    _folder.make_folder(tmp_path / "data", {}, lambda folder: (folder / "file").touch())
    assert (mode(tmp_path / "data"), mode(tmp_path / "data" / "file")) == (0o777 & ~_umask(), 0o666 & ~_umask())


def _umask() -> int:
    os.umask(before := os.umask(0))
    return before
