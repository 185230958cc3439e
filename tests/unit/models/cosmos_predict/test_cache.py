import pytest
import torch

from tao_skill_bank.models.cosmos_predict import cache
from tao_skill_bank.models.cosmos_predict.cache import Cache

KIND = Cache("things")


def test_an_entry_is_what_was_stored_in_its_own_type(state_dir):
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T  # not contiguous
    KIND.store("abc", tensor)
    assert KIND.has("abc")
    assert not KIND.has("abd")
    assert not Cache("others").has("abc")
    loaded = KIND.load("abc")
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded, tensor)
    assert [path.name for path in KIND.path("abc").parent.iterdir()] == ["abc.safetensors"]
    assert state_dir in KIND.path("abc").parents


def test_a_write_that_fails_leaves_nothing(monkeypatch):
    import safetensors.torch

    def fail(tensors, path):
        with open(path, "wb") as file:  # noqa: PTH123 - as safetensors does
            file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="full"):
        KIND.store("abc", torch.zeros(1))
    assert list(KIND.path("abc").parent.iterdir()) == []


def test_only_what_is_missing_is_made_once_and_told():
    KIND.store("b", torch.zeros(1))
    made, told = [], []

    def make(position):
        made.append(position)
        return torch.tensor([float(position)])

    keys = ["a", "b", "c", "c"]
    assert cache.fill(KIND, keys, make, lambda *numbers: told.append(numbers)) == 2
    assert [keys[position] for position in made] == ["a", "c"]
    assert told == [(1, 2), (2, 2)]
    assert KIND.missing(keys) == []
    assert cache.fill(KIND, keys, make, lambda *_: None) == 0


def test_keys_differ_in_any_part_and_repeat():
    keys = {cache.key_of("latents", "a", 1), cache.key_of("latents", "a", 2), cache.key_of("latents", "b", 1)}
    assert len(keys) == 3
    assert cache.key_of("latents", "a", 1) in keys
