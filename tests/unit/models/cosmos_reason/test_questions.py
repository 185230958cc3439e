"""Prompts: how long they are, what is read again, what leaves no room for an answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import data, questions, rank_assignment
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.questions import Prompts
from tao_skill_bank.training.config import load_spec
from tao_skill_bank.training.distributed import Ranks

from .conftest import Document

Ask = Callable[..., data.Records]


@pytest.fixture
def records(clips: Path, processor: Processor) -> Ask:
    def of(*changes: dict[str, Any], vision: VideoSampling | None = None) -> data.Records:
        annotations = data.read_annotations(str(clips / "test" / "annotations.json"))
        changed = [record | change for record, change in zip(annotations, changes, strict=False)]
        shown = data.Presentation(vision or VideoSampling(nframes=4), 1000)
        return data.Records(changed, str(clips / "test"), processor, shown)

    return of


def _asked(text: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "left"}]}


def test_predicted_lengths_order_records_as_their_real_lengths_do(
    records: Ask, evaluate_spec: Document, write_config: Callable[..., Path]
) -> None:
    config = load_spec(EvaluateConfig, write_config(evaluate_spec))
    source = records(_asked("Go " * 40), {}, {"video": None, **_asked("Yes?")}, _asked("Which way?"))
    alone = Ranks(0, 1, torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "gather", lambda _, value: [value])
        predicted = questions.lengths(config, source, alone)
    prompts = Prompts(source, 4096, 6, 0)
    real = [len(prompts[position].input_ids) for position in range(4)]
    assert rank_assignment.batches(predicted, 1) == rank_assignment.batches(real, 1)


def test_ranks_share_the_work_and_know_the_same_lengths(
    records: Ask, evaluate_spec: Document, write_config: Callable[..., Path]
) -> None:
    config = load_spec(EvaluateConfig, write_config(evaluate_spec))
    source = records({}, _asked("Go " * 40), {}, {}, {})
    parts: list[dict[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "gather", lambda _, value: [parts.append(value) or value, {0: 0, 2: 0, 4: 0}])
        second = questions.lengths(config, source, Ranks(1, 2, torch.device("cpu")))
    assert set(parts[0]) == {1, 3}
    assert second[1] > second[3] > 0


def test_media_that_tell_nothing_count_as_nothing(
    records: Ask, evaluate_spec: Document, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = load_spec(EvaluateConfig, write_config(evaluate_spec))
    source = records({"video": "videos/absent.mp4"}, {"video": "annotations.json"}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranks, "gather", lambda _, value: [value])
        lengths = questions.lengths(config, source, Ranks(0, 1, torch.device("cpu")))
    assert lengths[:2] == [0, 0]
    assert lengths[2] > 0


def test_a_question_without_room_for_the_answer_names_the_length_it_needs(records: Ask) -> None:
    source = records({})
    length = len(Prompts(source, 4096, 6, 0)[0].input_ids)
    assert len(Prompts(source, length + 6, 6, 0)[0].input_ids) == length
    with pytest.raises(BlockedError) as caught:
        Prompts(source, length + 5, 6, 0)[0]
    problem = caught.value.problems[0]
    assert (problem.code, problem.got, problem.expected) == ("question_too_long", length + 6, length + 5)
    assert f"Raise model.max_length to {length + 6}" in problem.fix


class Flaky(data.Records):
    """Records on a file system that gives a file at the n-th try only."""

    def at_try(self, number: int, code: str = "media_unreadable") -> "Flaky":
        self.number, self.code, self.tries = number, code, 0
        return self

    def frames(self, shown: Any) -> list[Frames]:
        self.tries += 1
        if self.tries < self.number:
            raise BlockedError.of(self.code, "Input/output error", "Wait.")
        return super().frames(shown)


@pytest.mark.parametrize(("retries", "at_try", "works"), [(0, 1, True), (0, 2, False), (2, 3, True), (2, 4, False)])
def test_media_that_cannot_be_read_are_read_again_as_often_as_the_spec_says(
    records: Ask, retries: int, at_try: int, works: bool
) -> None:
    plain = records({})
    source = Flaky(plain.records, str(plain.folder), plain.processor, plain.presentation).at_try(at_try)
    prompts = Prompts(source, 4096, 6, retries)
    if works:
        assert len(prompts[0].input_ids) > 0
    else:
        with pytest.raises(BlockedError, match="Input/output error"):
            prompts[0]
    assert source.tries == min(at_try, retries + 1)


def test_media_that_are_missing_are_not_read_again(records: Ask) -> None:
    plain = records({})
    source = Flaky(plain.records, str(plain.folder), plain.processor, plain.presentation).at_try(9, "missing_media")
    with pytest.raises(BlockedError):
        Prompts(source, 4096, 6, 5)[0]
    assert source.tries == 1


def test_the_identity_of_a_question_is_what_the_model_is_shown(records: Ask, tmp_path: Path) -> None:
    source = records({}, _asked("Which way?"))
    prompts = Prompts(source, 4096, 6, 0)
    first, other = (prompts.question(position, position).identity for position in range(2))
    assert len({first, other, ""}) == 3
    renamed = records({"id": "renamed"})
    assert Prompts(renamed, 4096, 6, 0).question(0, 7).identity == first
    changed = records({"conversations": [*source.records[0]["conversations"][:-1], {"from": "gpt", "value": "up"}]})
    assert Prompts(changed, 4096, 6, 0).question(0, 0).identity == first  # the truth is not shown
    assert Prompts(records({"video_fps": 3.0}), 4096, 6, 0).question(0, 0).identity != first


@pytest.mark.parametrize("place", [0, 150_000, 299_999])
def test_a_changed_file_has_another_content(tmp_path: Path, place: int) -> None:
    content = bytearray(300_000)
    (tmp_path / "a").write_bytes(content)
    content[place] = 1
    (tmp_path / "b").write_bytes(content)
    (tmp_path / "c").write_bytes(content)
    assert questions.content_of(tmp_path / "a") != questions.content_of(tmp_path / "b")
    assert questions.content_of(tmp_path / "b") == questions.content_of(tmp_path / "c")
