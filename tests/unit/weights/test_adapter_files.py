import json

import pytest
import torch
from safetensors.torch import save_file

from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.weights import adapter_files

MODULE = "blocks.0.to_q"


def tensors(prefix="transformer.", rank=4, inputs=6, outputs=8):
    return {
        f"{prefix}{MODULE}.lora_A.weight": torch.zeros(rank, inputs),
        f"{prefix}{MODULE}.lora_B.weight": torch.zeros(outputs, rank),
    }


def write(folder, weights=None, *, name=adapter_files.DIFFUSERS_WEIGHTS, header=None, config=None):
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {adapter_files.HEADER_KEY: json.dumps(header)} if header else None
    save_file(tensors() if weights is None else weights, folder / name, metadata=metadata)
    if config is not None:
        (folder / adapter_files.CONFIG_FILE).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "prefix"),
    [(adapter_files.DIFFUSERS_WEIGHTS, "transformer."), (adapter_files.PEFT_WEIGHTS, "base_model.model.")],
)
def test_the_sizes_of_a_module_are_read_from_the_header(tmp_path, name, prefix):
    adapter = adapter_files.read(write(tmp_path / "adapter", tensors(prefix), name=name))
    assert adapter.modules == {MODULE: adapter_files.Module(rank=4, inputs=6, outputs=8)}
    assert (adapter.rank, adapter.alpha, adapter.has_magnitudes) == (4, 4, False)


def test_a_file_alone_is_an_adapter(tmp_path):
    folder = write(tmp_path / "adapter", name="robots.safetensors")
    assert adapter_files.read(folder / "robots.safetensors").rank == 4
    assert adapter_files.read(folder).rank == 4


def test_settings_come_from_the_header_before_the_config(tmp_path):
    header = {"transformer.r": 4, "transformer.lora_alpha": 2, "transformer.target_modules": ["to_q"]}
    adapter = adapter_files.read(write(tmp_path / "adapter", header=header, config={"r": 4, "lora_alpha": 8}))
    assert (adapter.alpha, adapter.targets) == (2, ("to_q",))


def test_settings_come_from_the_config_without_a_header(tmp_path):
    adapter = adapter_files.read(write(tmp_path / "adapter", config={"r": 4, "lora_alpha": 8}))
    assert (adapter.alpha, adapter.targets) == (8, (MODULE,))


def test_magnitudes_make_it_a_dora(tmp_path):
    weights = tensors() | {f"transformer.{MODULE}.lora_magnitude_vector": torch.ones(8)}
    assert adapter_files.read(write(tmp_path / "adapter", weights)).has_magnitudes


def test_a_rank_of_its_own_is_no_contradiction(tmp_path):
    config = {"r": 8, "rank_pattern": {"to_q": 4}}
    assert adapter_files.read(write(tmp_path / "adapter", config=config)).rank == 4


@pytest.mark.parametrize(("record", "where"), [("config", "adapter_config.json"), ("header", "its header")])
def test_ranks_that_contradict_their_record_are_refused(tmp_path, record, where):
    settings = {"r": 16} if record == "config" else {"transformer.r": 16}
    folder = write(tmp_path / "adapter", **{record: settings})
    with pytest.raises(BlockedError, match=f"have rank 4, {where} says 16") as caught:
        adapter_files.read(folder)
    assert caught.value.problems[0].code == "adapter_rank"


def test_matrices_of_two_ranks_are_refused(tmp_path):
    weights = tensors() | {f"transformer.{MODULE}.lora_B.weight": torch.zeros(8, 5)}
    with pytest.raises(BlockedError, match=r"lora_A of blocks.0.to_q has rank 4, but lora_B has shape \[8, 5\]"):
        adapter_files.read(write(tmp_path / "adapter", weights))


def test_weights_that_are_no_lora_are_refused(tmp_path):
    with pytest.raises(BlockedError, match="are not LoRA weights"):
        adapter_files.read(write(tmp_path / "adapter", {"blocks.0.to_q.weight": torch.zeros(2, 2)}))


def test_a_cut_off_file_is_refused(tmp_path):
    file = write(tmp_path / "adapter") / adapter_files.DIFFUSERS_WEIGHTS
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(BlockedError, match="bytes"):
        adapter_files.read(file.parent)


def test_a_folder_without_weights_is_no_adapter(tmp_path):
    with pytest.raises(BlockedError, match="it is not an adapter"):
        adapter_files.read(tmp_path)
    with pytest.raises(UnknownNameError, match="does not exist"):
        adapter_files.read(tmp_path / "absent")
