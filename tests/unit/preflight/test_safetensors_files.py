import torch
from safetensors.torch import save_file

from tao_skill_bank.preflight import safetensors_files
from tao_skill_bank.training import adapters


def test_the_fingerprint_is_that_of_training(tmp_path):
    save_file({"b": torch.rand(3, 70), "a": torch.ones(1)}, tmp_path / "one.safetensors", metadata={"format": "pt"})
    save_file({"c": torch.arange(9)}, tmp_path / "two.safetensors")
    assert safetensors_files.fingerprint(tmp_path) == adapters.fingerprint(tmp_path) is not None


def test_damaged_or_absent_weights_have_no_fingerprint(tmp_path):
    assert safetensors_files.fingerprint(tmp_path) is None
    (tmp_path / "one.safetensors").write_bytes(b"cut")
    assert safetensors_files.fingerprint(tmp_path) is None
