import threading
from collections import Counter
from pathlib import Path

import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import batches
from tao_skill_bank.models.cosmos_predict.batches import Item, Order, Windows


def item(index=0, frames=25, size=(48, 80)):
    return Item(index, f"clip{index}", Path(f"clip{index}.mp4"), "caption", frames, size)


def order(count=11, batch_size=2, accumulation=1, world=1, seed=0, sizes=((48, 80),)):
    items = [item(index, size=sizes[index % len(sizes)]) for index in range(count)]
    return Order(items, batch_size, accumulation, world, seed)


def names(taken):
    return [one.name for batch in taken for one in batch]


def test_an_epoch_takes_every_clip_once_at_most_and_leaves_what_does_not_fill_a_step():
    taken = order(11, 2).micro_batches(1, 0)
    assert [len(batch) for batch in taken] == [2] * 5
    assert len(set(names(taken))) == 10


def test_epochs_and_seeds_have_orders_of_their_own_that_repeat():
    first = names(order().micro_batches(1, 0))
    assert names(order().micro_batches(1, 0)) == first
    assert names(order().micro_batches(2, 0)) != first
    assert names(order(seed=1).micro_batches(1, 0)) != first
    left = {
        name
        for epoch in range(12)
        for name in {f"clip{i}" for i in range(11)} - set(names(order().micro_batches(epoch, 0)))
    }
    assert len(left) > 3  # not always the same clip


@pytest.mark.parametrize("count", [8, 11])
def test_ranks_share_out_the_steps_of_one_process_that_accumulates(count):
    alone = order(count, 1, accumulation=2, world=1)
    shared = order(count, 1, accumulation=1, world=2)
    assert alone.num_steps == shared.num_steps == count // 2
    ranks = [shared.micro_batches(3, rank) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == shared.num_steps
    together = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    assert together == alone.micro_batches(3, 0)


def test_a_micro_batch_holds_clips_of_one_size():
    sizes = ((48, 80), (64, 64), (80, 48))
    made = order(12, 2, sizes=sizes)
    taken = made.micro_batches(1, 0)
    assert made.num_steps == len(taken) == 6
    assert all(len({one.size for one in batch}) == 1 for batch in taken)
    assert Counter(batch[0].size for batch in taken) == dict.fromkeys(sizes, 2)
    assert len({tuple(batch[0].size for batch in made.micro_batches(epoch, 0)) for epoch in range(6)}) > 1


def test_too_few_clips_for_a_step_name_what_to_lower():
    with pytest.raises(BlockedError, match="3 training clips are fewer than one step needs") as caught:
        _ = order(3, 2, accumulation=1, world=2).num_steps
    assert caught.value.problems[0].code == "batch_exceeds_records"
    assert "train.batch_size" in caught.value.problems[0].fix


def test_kept_windows_are_the_ones_that_epochs_draw_from():
    windows = Windows(9, 0, kept=3)
    starts = windows.starts(item(frames=100))
    assert len(starts) == 3
    assert {windows.start(item(frames=100), epoch) for epoch in range(40)} == set(starts)
    assert windows.starts(item(frames=9)) == [0]
    assert windows.starts(item(1, frames=100)) != starts


def test_without_a_cache_every_epoch_has_a_window_of_its_own_inside_the_clip():
    windows = Windows(9, 0, kept=0)
    drawn = [windows.start(item(frames=25), epoch) for epoch in range(200)]
    assert set(drawn) == set(range(25 - 9 + 1))
    assert drawn == [windows.start(item(frames=25), epoch) for epoch in range(200)]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_are_read_in_order_by_any_number_of_threads(threads):
    taken = [[(item(2 * number),), (item(2 * number + 1),)] for number in range(10)]
    read = list(batches.read_ahead(taken, lambda one: torch.tensor([one.index]), threads))
    assert [[(one,) for one in batch.items] for batch in read] == taken
    assert [batch.tensors.flatten().tolist() for batch in read] == [
        [2 * number, 2 * number + 1] for number in range(10)
    ]


def test_reading_stays_a_few_batches_ahead():
    loaded = []
    lock = threading.Lock()

    def load(one):
        with lock:
            loaded.append(one.index)
        return torch.zeros(1)

    reader = batches.read_ahead([[(item(number),)] for number in range(100)], load, 1)
    next(reader)
    reader.close()
    assert len(loaded) <= batches.READ_AHEAD + 1


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_of_reading_is_raised_where_its_batch_is_due(threads):
    def load(one):
        if one.index == 1:
            raise BlockedError.of("media_unreadable", "broken", "Replace it.")
        return torch.zeros(1)

    reader = batches.read_ahead([[(item(0),)], [(item(1),)], [(item(2),)]], load, threads)
    next(reader)
    with pytest.raises(BlockedError, match="broken"):
        next(reader)


def test_mixed_seeds_differ_for_neighbours_and_fit_a_generator():
    seeds = {batches.mixed(a, b, c) for a in range(8) for b in range(8) for c in range(-1, 7)}
    assert len(seeds) == 8 * 8 * 8
    for seed in seeds:
        torch.Generator().manual_seed(seed)
    neighbours = [batches.mixed(0, step, 0, 0) ^ batches.mixed(0, step + 1, 0, 0) for step in range(50)]
    assert min(bin(changed).count("1") for changed in neighbours) > 4
