"""Loads a model whole and in shards and compares: `torchrun ... -m sharded_loading --config FILE` (a train spec).

Every rank writes what it found to loading_<rank>.json beside the config.
"""

import argparse
import json
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tao_skill_bank.models.cosmos_reason import model as models
from tao_skill_bank.models.cosmos_reason import prepare, sharded_weights
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.network import parts
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat
from tao_skill_bank.training import distributed
from tao_skill_bank.training.config import load_spec


def whole(config, base, dtype, device):
    return prepare.make_trainable(config, models.load(base, dtype, device), base)[0]


def empty(config, base, dtype, device):
    trainable = prepare.make_trainable(config, sharded_weights.skeleton(base, dtype), base)[0]
    sharded_weights.forget(trainable, base)
    tower = prepare.frozen_tower(trainable)
    if tower is not None:
        sharded_weights.fill(trainable, base, device, only=tower)
        tower.to(device)
    return trainable


def state_of(model):
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    return {name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for name, tensor in tensors.items()}


def differing(first, second):
    assert first.keys() == second.keys()
    return [
        name
        for name, tensor in first.items()
        if tensor.dtype != second[name].dtype or not torch.equal(tensor, second[name])
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    torch.set_num_threads(1)
    config = load_spec(TrainConfig, path)
    ranks = distributed.start()
    sizes = config.policy.parallelism
    mesh = distributed.data_parallel_mesh(ranks, replicate=sizes.dp_replicate_size, shard=sizes.dp_shard_size)
    base = Path(config.policy.model_name_or_path)
    dtype = getattr(torch, config.train.param_dtype if config.policy.lora else config.train.master_dtype)
    found = []
    for load in (whole, empty):
        torch.manual_seed(7)
        trainable = load(config, base, dtype, ranks.device)
        network, _ = prepare.prepare(config, trainable, mesh, ranks, (PixelFormat(), Execution(0.0, False)))
        read = sharded_weights.fill(trainable, base, ranks.device) if load is empty else None
        found.append((trainable, network, read))
    base_of = parts(found[1][0])
    result = {
        "differing": differing(*(state_of(trainable) for trainable, _, _ in found)),
        "trained": [
            sorted(name for name, weight in trainable.named_parameters() if weight.requires_grad)
            for trainable, _, _ in found
        ],
        "bytes_read": found[1][2],
        "tied": base_of.lm_head.weight is base_of.get_input_embeddings().weight,
    }
    (path.parent / f"loading_{ranks.rank}.json").write_text(json.dumps(result))
    ranks.barrier()
    distributed.stop()


if __name__ == "__main__":
    main()
