"""What preflight passes, the trainer's loader takes, and nothing else: generated records of all formats."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from record_generator import Generator

from tao_skill_bank.contracts import Input
from tao_skill_bank.data import record_findings
from tao_skill_bank.data.annotations import load_records
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.scan import Options, scan
from tao_skill_bank.errors import BlockedError

pytest.importorskip("torch")

import torch

from tao_skill_bank.models.cosmos_reason import conversation, data
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, Processor
from tao_skill_bank.models.cosmos_reason.reserved_tokens import RESERVED_TOKENS, TURN_END
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat
from tao_skill_bank.training import tiny_tokenizer

SEED = 20261130
NUM_RECORDS = 2_000  # 20,000 were run once with this seed
NUM_ENCODED = 300
TEMPLATE = Path(conversation.__file__).parent / "builtin" / "tiny-cosmos-reason" / "chat_template.jinja"
ROLES = ("train", "unanswered")  # of the second role nobody needs answers


@pytest.fixture(scope="module")
def processor() -> Processor:
    return Processor(tiny_tokenizer.train(["left", "Which?"], TEMPLATE.read_text(encoding="utf-8")), PixelFormat())


def passes(path: Path, role: str) -> bool:
    """Return whether preflight finds nothing in the records of a file that stops a launch."""
    given = Input(role, "annotations", {"annotation_path": str(path), "media_path": str(path.parent)})
    found = record_findings.check(scan(given, (), 8, Options(reserved_tokens=RESERVED_TOKENS)))
    assert all(each.fix for each in found if each.severity == "blocking")
    return all(each.severity != "blocking" for each in found)


def loaded(record: Any) -> conversation.Conversation | None:
    """Return what the trainer makes of a record; None for one that it refuses with a fix."""
    try:
        return conversation.parse(record, 0)
    except BlockedError as error:
        problems = error.problems
    assert all(problem.fix and problem.message for problem in problems)
    return None


def answers_of(shown: conversation.Conversation) -> list[str]:
    return [conversation.text_of(message) for message in shown.messages if message["role"] == "assistant"]


def check_labels(processor: Processor, shown: conversation.Conversation) -> None:
    """Check that what is learned decodes to exactly the answers, each with its turn end."""
    times = {"image": (), "video": (0.0,)}
    frames = [Frames(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), times[item.kind]) for item in shown.media]
    sample = processor.encode(shown, frames, max_length=100_000)
    learned = processor.tokenizer.decode(sample.input_ids[sample.labels != IGNORED])
    expected = "".join(answer + TURN_END for answer in answers_of(shown))
    assert unicodedata.normalize("NFC", learned) == unicodedata.normalize("NFC", expected)


@pytest.mark.slow
def test_preflight_passes_a_record_if_and_only_if_the_trainer_takes_it(tmp_path: Path, processor: Processor) -> None:
    generator, path = Generator(SEED), tmp_path / "annotations.json"
    taken = refused = encoded = 0
    for _ in range(NUM_RECORDS):
        record = generator.record()
        path.write_text(json.dumps([record], allow_nan=True).replace("Infinity", "1e999"))
        (record,) = load_records(path)
        shown = loaded(record)
        assert passes(path, "unanswered") is (shown is not None), record
        assert passes(path, "train") is (shown is not None and bool(answers_of(shown))), record
        assert reader.media_of(record) == reader.examine(record, reader.ANY_KEY)[0].media
        refused += shown is None
        if shown is None or not answers_of(shown):
            continue
        taken += 1
        assert conversation.question_and_answer(shown)[2] == answers_of(shown)[-1]
        if encoded < NUM_ENCODED * NUM_RECORDS / 2_000:
            check_labels(processor, shown)
            encoded += 1
    assert min(taken, refused) > NUM_RECORDS / 5


def test_a_text_can_neither_end_an_answer_nor_open_a_turn(processor: Processor) -> None:
    """Every reserved token at every place is refused by the reader and, should one get through, by the processor."""
    for token in RESERVED_TOKENS:
        for place in range(3):
            texts = [f"a{token}b" if index == place else "text" for index in range(3)]
            turns = [
                {"from": role, "value": text} for role, text in zip(("system", "human", "gpt"), texts, strict=True)
            ]
            assert loaded({"id": "r", "conversations": turns}) is None
            messages = tuple(
                {"role": role, "content": [{"type": "text", "text": text}]}
                for role, text in zip(("system", "user", "assistant"), texts, strict=True)
            )
            with pytest.raises(BlockedError, match="reserved token"):
                processor.encode(conversation.Conversation("r", messages, ()), [], max_length=1000)


@pytest.mark.parametrize("shape", ["list", "lines", "lines of another name", "envelope", "by id", "CRLF"])
def test_every_shape_of_a_file_gives_the_same_records(shape: str, tmp_path: Path) -> None:
    generator = Generator(SEED)
    records = [record for record in (generator.record() for _ in range(50)) if loaded(record) and "id" in record]
    records = [{**record, "id": str(index)} for index, record in enumerate(records)]
    name, text = {
        "list": ("a.json", json.dumps(records)),
        "lines": ("a.jsonl", "\n".join(map(json.dumps, records))),
        "lines of another name": ("a.txt", "\n".join(map(json.dumps, records))),
        "envelope": ("a.json", json.dumps({"info": {"version": 1}, "data": records})),
        "by id": (
            "a.json",
            json.dumps({record["id"]: {k: v for k, v in record.items() if k != "id"} for record in records}),
        ),
        "CRLF": ("a.json", "\r\n".join(map(json.dumps, records)) + "\r\n"),
    }[shape]
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert len(records) > 10
    assert data.read_annotations(str(path)) == records
