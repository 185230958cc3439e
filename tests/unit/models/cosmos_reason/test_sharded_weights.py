"""A model read in shards equals the one that is read whole, and no rank reads more than its share."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sharded_loading
import torch
from safetensors.torch import load_file, save_file

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import model, sharded_weights
from tao_skill_bank.models.cosmos_reason.config.train import Lora

from .conftest import Document

CPU = torch.device("cpu")
SUPPORT = str(Path(sharded_loading.__file__).parent)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture
def tied_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A checkpoint whose head is the embedding, in two files with an index."""
    folder = tmp_path / "tied"
    shutil.copytree(tiny_model, folder)
    document = json.loads((folder / "config.json").read_text())
    document["tie_word_embeddings"] = document["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(document))
    weights = load_file(str(folder / "model.safetensors"))
    del weights["lm_head.weight"]
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    files = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: weights[name] for name in held}, str(folder / file), metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in files.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def load_in_shards(config: Path, processes: int) -> list[Document]:
    command = [sys.executable, "-m", "tao_skill_bank.training.launcher", "--standalone", "--nproc_per_node"]
    path = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TAO_DEVICE": "cpu"}
    arguments = [str(processes), "-m", "sharded_loading", "--config", str(config)]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((config.parent / f"loading_{rank}.json").read_text()) for rank in range(processes)]


class Case(NamedTuple):
    """A spec's adapters, number format, mesh, and whether the head is the embedding."""

    lora: dict[str, Any] | None
    dtype: str
    replicate: int
    shard: int
    tied: bool


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case(LORA, "bfloat16", 1, 2, tied=True),
        Case({**LORA, "init_lora_weights": "gaussian", "modules_to_save": ["visual"]}, "float32", 1, 2, tied=False),
        Case({**LORA, "target_modules": ["all-linear"]}, "float32", 2, 2, tied=False),
        Case(None, "bfloat16", 1, 4, tied=True),
    ],
    ids=["frozen-tower-tied", "trained-tower", "two-dimensional", "full-tied"],
)
def test_shards_equal_the_whole_and_every_rank_reads_its_own(
    case: Case,
    train_spec: Document,
    tied_model: Path,
    write_config: Callable[..., Path],
) -> None:
    lora, dtype, replicate, shard, tied = case
    spec = copy.deepcopy(train_spec)
    if tied:
        spec["policy"]["model_name_or_path"] = str(tied_model)
    if lora:
        spec["policy"]["lora"] = lora
    spec["policy"]["parallelism"] = {"dp_replicate_size": replicate, "dp_shard_size": shard}
    spec["train"]["param_dtype"] = dtype
    found = load_in_shards(write_config(spec), replicate * shard)
    for rank in found:
        assert rank["differing"] == []
        assert rank["trained"][0] == rank["trained"][1]
        assert rank["trained"][0]
        assert rank["tied"] is tied
    files = Path(spec["policy"]["model_name_or_path"]).glob("*.safetensors")
    sizes = {name: tensor.nbytes for file in files for name, tensor in load_file(str(file)).items()}
    stored = sum(sizes.values())
    if lora and "modules_to_save" in lora:
        stored += sum(size for name, size in sizes.items() if "visual" in name)  # the trained copy and the frozen one
    read = [rank["bytes_read"] for rank in found]
    assert all(0 < count <= stored / shard * 1.1 for count in read)
    if lora is None:
        assert sum(read) == stored


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_process_reads_what_transformers_reads(tied_model: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    loaded = sharded_weights.skeleton(tied_model, dtype)
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(0).get_state())
    assert sum(weight.untyped_storage().nbytes() for weight in loaded.parameters()) < 1000  # a number a weight
    sharded_weights.forget(loaded, tied_model)
    sharded_weights.fill(loaded, tied_model, CPU)
    expected = model.load(tied_model, dtype, CPU)
    tensors, wanted = ({**dict(it.named_parameters()), **dict(it.named_buffers())} for it in (loaded, expected))
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in tensors.items())
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


def test_a_part_alone_is_read(tiny_model: Path) -> None:
    loaded = sharded_weights.skeleton(tiny_model, torch.float32)
    sharded_weights.forget(loaded, tiny_model)
    sharded_weights.fill(loaded, tiny_model, CPU, only=loaded.model.visual)
    assert not any(parameter.is_meta for parameter in loaded.model.visual.parameters())
    assert all(parameter.is_meta for parameter in loaded.model.language_model.parameters())


@pytest.mark.parametrize("damage", ["absent", "shape", "cut"])
def test_weights_that_do_not_fit_are_one_clear_error(damage: str, tied_model: Path) -> None:
    loaded = sharded_weights.skeleton(tied_model, torch.float32)
    sharded_weights.forget(loaded, tied_model)
    file = tied_model / "model-1.safetensors"
    weights = load_file(str(file))
    name = next(name for name in weights if name.endswith("mlp.up_proj.weight"))
    if damage == "absent":
        index = json.loads((tied_model / sharded_weights.INDEX).read_text())
        del index["weight_map"][name]
        (tied_model / sharded_weights.INDEX).write_text(json.dumps(index))
    elif damage == "shape":
        save_file({**weights, name: weights[name][:-1].clone()}, str(file), metadata={"format": "pt"})
    else:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BlockedError) as caught:
        sharded_weights.fill(loaded, tied_model, CPU)
    (problem,) = caught.value.problems
    assert problem.code == "weights_unreadable"
    assert damage == "cut" or name in problem.message


def test_only_adapters_that_need_no_weights_are_put_on_a_skeleton(tiny_model: Path, tmp_path: Path) -> None:
    assert sharded_weights.suits(tiny_model, None)
    assert sharded_weights.suits(tiny_model, Lora(init_lora_weights="gaussian"))
    assert not sharded_weights.suits(tiny_model, Lora(init_lora_weights="pissa"))
    assert not sharded_weights.suits(tmp_path, None)  # pytorch_model.bin, or nothing
