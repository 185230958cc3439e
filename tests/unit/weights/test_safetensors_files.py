import torch
from safetensors.torch import save_file

from tao_skill_bank.weights import safetensors_files


def test_a_fingerprint_follows_the_weights_and_not_their_files(tmp_path):
    weights = {"b": torch.rand(3, 70), "a": torch.ones(1), "c": torch.arange(9)}
    for name, parts in {"one": [["a", "b", "c"]], "two": [["a"], ["b", "c"]], "other": [["a", "b", "c"]]}.items():
        folder = tmp_path / name
        folder.mkdir()
        if name == "other":
            weights = {**weights, "a": torch.zeros(1)}
        for number, keys in enumerate(parts):
            save_file({key: weights[key] for key in keys}, folder / f"{number}.safetensors", metadata={"format": "pt"})
    one, two, other = (safetensors_files.fingerprint(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two is not None
    assert other not in (one, None)


def test_damaged_or_absent_weights_have_no_fingerprint(tmp_path):
    assert safetensors_files.fingerprint(tmp_path) is None
    (tmp_path / "one.safetensors").write_bytes(b"cut")
    assert safetensors_files.fingerprint(tmp_path) is None
