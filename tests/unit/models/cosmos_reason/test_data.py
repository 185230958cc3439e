"""The dataset: split, cache, order and batches."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import data, loader
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.loader import Batches, ReadAhead, Slot, TrainingOrder, ValidationOrder, Workers
from tao_skill_bank.models.cosmos_reason.packing import Packed, Packer
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.samples.vlm import write_video


def _records(count: int) -> list[dict[str, Any]]:
    turns = [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": "left"}]
    return [{"id": f"r{index}", "conversations": turns} for index in range(count)]


def test_the_split_follows_the_ids_and_the_seed_and_not_the_order() -> None:
    records = _records(50)
    train, val = data.split_by_id(records, 0.2, seed=0)
    _, shuffled = data.split_by_id(records[::-1], 0.2, seed=0)
    _, other = data.split_by_id(records, 0.2, seed=1)
    names = [{record["id"] for record in part} for part in (val, shuffled, other)]
    assert len(val) == 10
    assert len(train) == 40
    assert names[0] == names[1] != names[2]


def test_records_that_share_an_id_stay_on_one_side() -> None:
    records = _records(20) + _records(20)
    train, val = data.split_by_id(records, 8, seed=0)
    assert not {record["id"] for record in train} & {record["id"] for record in val}
    assert len(val) == 8


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(BlockedError):
        data.split_by_id(_records(3), 3, seed=0)


def _dataset(folder: Path, processor: Processor, vision: VideoSampling) -> data.Records:
    shown = data.Presentation(vision, 1000, cache=True)
    return data.Records([{**_records(1)[0], "video": "clip.mp4"}], str(folder), processor, shown)


def test_the_cache_never_goes_stale(tmp_path: Path, processor: Processor, state_dir: Path) -> None:
    dark, light = (np.full((8, 64, 64, 3), value, dtype=np.uint8) for value in (0, 200))
    write_video(tmp_path / "clip.mp4", dark)
    first = _dataset(tmp_path, processor, VideoSampling(nframes=4))[0].patches
    assert len(list(state_dir.rglob("*.pt"))) == 1
    again = _dataset(tmp_path, processor, VideoSampling(nframes=4))[0].patches
    assert torch.equal(first, again)
    assert len(list(state_dir.rglob("*.pt"))) == 1
    fewer = _dataset(tmp_path, processor, VideoSampling(nframes=2))[0].patches
    assert len(fewer) == len(first) // 2
    write_video(tmp_path / "clip.mp4", light)
    os.utime(tmp_path / "clip.mp4", ns=(1, 1))
    changed = _dataset(tmp_path, processor, VideoSampling(nframes=4))[0].patches
    assert float(changed.float().mean()) > 150
    assert float(first.float().mean()) < 50


def test_annotations_must_hold_objects(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": 1}, 3]))
    with pytest.raises(BlockedError, match="#1"):
        data.read_annotations(str(tmp_path / "a.json"))


def test_the_records_of_a_step_do_not_depend_on_the_number_of_ranks() -> None:
    def steps(world: int, batch: int) -> list[set[int]]:
        found: list[set[int]] = [set() for _ in range(4)]
        for rank in range(world):
            order = TrainingOrder(50, ranks=(rank, world), batch=batch, micro_batch=2, seed=3)
            order.epoch = 2
            flat = [slot.index for micro in order for slot in micro]
            for step in range(4):
                found[step] |= set(flat[step * batch : (step + 1) * batch])
        return found

    one, two = steps(1, 12), steps(2, 6)
    assert one == two
    assert len(set.union(*one)) == 48


def test_epochs_have_their_own_order() -> None:
    order = TrainingOrder(50, ranks=(0, 1), batch=10, micro_batch=10, seed=3)
    first = list(order)
    order.epoch = 1
    assert list(order) != first


def test_validation_meets_every_record_once_and_keeps_ranks_in_step() -> None:
    per_rank = [list(ValidationOrder(9, ranks=(rank, 4), batch=2)) for rank in range(4)]
    assert {len(batches) for batches in per_rank} == {2}
    counted = [slot.index for batches in per_rank for batch in batches for slot in batch if slot.counts]
    assert sorted(counted) == list(range(9))


def test_an_epoch_without_a_step_names_the_largest_batch() -> None:
    loader.require_steps(16, world=2, batch=8)
    with pytest.raises(BlockedError) as caught:
        loader.require_steps(15, world=2, batch=8)
    assert caught.value.problems[0].expected == 7


@pytest.mark.slow
def test_loader_processes_give_the_same_batches_and_keep_our_errors(processor: Processor, tmp_path: Path) -> None:
    shown = data.Presentation(VideoSampling(), 500)
    records = data.Records(_records(4), str(tmp_path), processor, shown)
    order = [[Slot(0), Slot(1)], [Slot(2), Slot(3, counts=False)]]
    inline, spawned = (list(Batches(records, order, Workers(n, 2), Packer(processor))) for n in (0, 1))
    for one, two in zip(inline, spawned, strict=True):
        assert torch.equal(one.input_ids, two.input_ids)
        assert torch.equal(one.targets, two.targets)
    assert inline[1].num_samples == 1
    missing = data.Records([{**_records(1)[0], "video": "none.mp4"}], str(tmp_path), processor, shown)
    with pytest.raises(BlockedError, match=r"Record r0.*none\.mp4"):
        list(Batches(missing, [[Slot(0)]], Workers(1, 2), Packer(processor)))


def test_threads_that_read_ahead_give_the_batches_in_order_and_raise_where_one_is_due(
    processor: Processor, tmp_path: Path
) -> None:
    shown = data.Presentation(VideoSampling(), 500)
    records = data.Records(_records(9), str(tmp_path), processor, shown)
    order = [[Slot(index, counts=index != 4)] for index in range(9)]
    expected = list(Batches(records, order, Workers(0, 2), Packer(processor)))
    for threads in (0, 3):
        got: list[Packed] = list(ReadAhead(records, order, Workers(threads, 2), Packer(processor)))
        assert [batch.input_ids.tolist() for batch in got] == [batch.input_ids.tolist() for batch in expected]
        assert [batch.num_samples for batch in got] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    missing = data.Records([*_records(2), {**_records(1)[0], "video": "none.mp4"}], str(tmp_path), processor, shown)
    stream = iter(ReadAhead(missing, [[Slot(0)], [Slot(1)], [Slot(2)]], Workers(2, 2), Packer(processor)))
    next(stream)
    next(stream)
    with pytest.raises(BlockedError, match=r"none\.mp4"):
        next(stream)


def test_workers_keep_no_more_ready_than_memory_has_room_for() -> None:
    assert Workers(8, 8).bounded(1) == Workers(8, 8)
    assert Workers(8, 8).bounded(2**50) == Workers(1, 1)
    assert Workers(0, 8).bounded(2**50).count == 0
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    some = Workers(4, 100).bounded(free // 40)
    assert some.count == 4
    assert 4 * some.prefetch * (free // 40) < 2 * free


@pytest.mark.parametrize(("num_batches", "count"), [(3, 0), (8, 1), (40, 5), (10_000, 8)])
def test_few_batches_start_no_loader_process_that_costs_more_than_it_saves(num_batches: int, count: int) -> None:
    assert Workers(8, 4).worthwhile(num_batches) == Workers(count, 4)
    assert Workers(0, 4).worthwhile(num_batches).count == 0
