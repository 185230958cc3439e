"""Vectors on disk: what a killed run leaves is read, what is broken is not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tao_skill_bank.models.cosmos_reason.embedding import parts
from tao_skill_bank.models.cosmos_reason.embedding.parts import Parts


def test_vectors_are_read_back_by_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    new = Parts(tmp_path)
    new.add(["a", "b"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert parts.saved(tmp_path) == set()
    new.add(["c"], torch.tensor([[5.0, 6.0]]))
    new.add(["d"], torch.tensor([[7.0, 8.0]]))
    assert parts.saved(tmp_path) == {"a", "b", "c"}
    new.flush()
    found = parts.read(tmp_path, {"b", "d", "absent"})
    assert {key: vector.tolist() for key, vector in found.items()} == {"b": [3, 4], "d": [7, 8]}


def test_a_broken_part_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    new = Parts(tmp_path)
    new.add(["a"], torch.ones(1, 2))
    new.flush()
    (whole,) = tmp_path.iterdir()
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "text.safetensors").write_text("no tensors")
    vectors = torch.ones(2, 2, dtype=torch.float16)
    for name, keys in (("few", '["b"]'), ("numbers", "[1, 2]"), ("object", "{}"), ("no_json", "[")):
        save_file({"vectors": vectors}, str(tmp_path / f"{name}.safetensors"), {"keys": keys})
    save_file({"vectors": vectors.float()}, str(tmp_path / "wide.safetensors"), {"keys": '["b", "c"]'})
    save_file({"other": vectors}, str(tmp_path / "other.safetensors"))
    assert parts.saved(tmp_path) == parts.read(tmp_path, {"a", "b", "c"}).keys() == {"a"}
