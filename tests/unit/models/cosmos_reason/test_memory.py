"""The ways to run a training, from the sizes of a model and its micro-batches."""

from dataclasses import replace

from tao_skill_bank.bank.execution import choose
from tao_skill_bank.models.cosmos_reason.memory import Load, Setup, Shape, Stack, execution_plans, parts

SHAPE = Shape(
    parameters=8_767_000_000,
    trained=7_700_000,
    vocabulary=151_936,
    head_trains=False,
    levels=4,
    text=Stack(blocks=36, hidden=4096, kept=48_128, trains=True),
    vision=Stack(blocks=27, hidden=1152, kept=10_064, trains=False),
)
SETUP = Setup(param_bytes=2, master_bytes=4, shards=1, offload=False, uses_fsdp=False, features_cached=False)
LOAD = Load(tokens=4384, patches=16_384, labels=288, samples=4, per_step=32)
EVERY = (0.0, 0.5, 1.0)
GIB = 2**30


def test_ways_go_from_the_fastest_to_the_smallest() -> None:
    found = execution_plans(SHAPE, SETUP, LOAD, EVERY)
    assert [plan.relative_time for plan in found] == sorted(plan.relative_time for plan in found)
    assert found[0].settings == {"policy.model_gradient_checkpointing": False, "train.train_policy.mini_batch": 4}
    smallest = min(found, key=lambda plan: plan.memory_bytes)
    assert smallest.settings == {"policy.model_gradient_checkpointing": True, "train.train_policy.mini_batch": 1}


def test_a_smaller_gpu_gets_smaller_micro_batches_before_it_recomputes_everything() -> None:
    found = execution_plans(SHAPE, SETUP, LOAD, EVERY)
    settings = choose(found, 40 * GIB).plan.settings
    assert settings == {"policy.model_gradient_checkpointing": False, "train.train_policy.mini_batch": 1}
    assert choose(found, 24 * GIB).plan.settings["policy.model_gradient_checkpointing"] is True
    assert not choose(found, 16 * GIB).fits


def test_gradients_of_several_micro_batches_lie_beside_activations() -> None:
    full = replace(SHAPE, trained=SHAPE.parameters, head_trains=True)
    bfloat16 = replace(SETUP, master_bytes=2)
    alone, several = (parts(full, bfloat16, replace(LOAD, samples=1, per_step=count), 0.0)["total"] for count in (1, 8))
    assert several - alone == min(2 * full.parameters, parts(full, bfloat16, LOAD, 0.0)["gradients"])


def test_weights_that_are_offloaded_or_shared_out_take_no_room_on_a_gpu() -> None:
    offloaded = parts(SHAPE, replace(SETUP, offload=True), LOAD, 0.0)
    assert (offloaded["weights"], offloaded["optimizer"], offloaded["loading"]) == (0, 0, 0)
    shared = parts(SHAPE, replace(SETUP, shards=4, uses_fsdp=True), LOAD, 0.0)
    assert shared["weights"] == parts(SHAPE, SETUP, LOAD, 0.0)["weights"] // 4
