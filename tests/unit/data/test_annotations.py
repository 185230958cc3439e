import json

import pytest

from tao_skill_bank.data import json_stream
from tao_skill_bank.data.annotations import load_records, stream_records
from tao_skill_bank.data.json_stream import CHARACTERS_PER_READ, DECODER
from tao_skill_bank.errors import BlockedError

RECORDS = [{"id": "a", "video": "a.mp4"}, {"id": "b", "image": "b.png"}]


def written(tmp_path, text, name="annotations.json"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path):
    with pytest.raises(BlockedError) as caught:
        load_records(path)
    problem = caught.value.problems[0]
    assert problem.path == str(path)
    assert problem.fix
    return problem.message


def test_a_list_is_read(tmp_path):
    assert load_records(written(tmp_path, json.dumps(RECORDS, indent=4))) == RECORDS


@pytest.mark.parametrize("key", ["annotations", "data", "samples", "items"])
def test_the_list_of_an_envelope_is_read(tmp_path, key):
    envelope = {"info": {"data": [1], "note": "]"}, key: RECORDS, "license": None}
    assert load_records(written(tmp_path, json.dumps(envelope))) == RECORDS


def test_json_lines_are_read_and_blank_lines_skipped(tmp_path):
    text = "\n".join(json.dumps(record) for record in RECORDS) + "\n\n"
    assert load_records(written(tmp_path, text, "annotations.jsonl")) == RECORDS


@pytest.mark.parametrize("separator", [(",", ":"), (" , ", " : "), (",\n\n\t", ":\r\n")])
@pytest.mark.parametrize("offset", range(-40, 41, 5))
def test_records_are_the_same_wherever_the_file_is_cut_while_reading(tmp_path, separator, offset):
    filler = {"id": "filler", "text": "x" * (CHARACTERS_PER_READ - 60 + offset)}
    records = [filler, {"id": 12, "f": 1.5e-3, "t": 'é"\\\n\u2028', "n": None, "b": True, "l": [[], {}]}, 123456, "z"]
    assert load_records(written(tmp_path, json.dumps(records, separators=separator))) == records


def test_a_record_larger_than_the_read_buffer_is_read(tmp_path):
    records = [{"id": "a", "text": "y" * (3 * CHARACTERS_PER_READ)}, {"id": "b"}]
    assert load_records(written(tmp_path, json.dumps(records))) == records


def test_every_record_of_a_conversation_is_parsed_once(tmp_path, monkeypatch):
    scanned = []

    class Counted:
        def scan_once(self, text, position):
            scanned.append(position)
            return DECODER.scan_once(text, position)

    monkeypatch.setattr(json_stream, "DECODER", Counted())
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}] * 4
    records = [{"id": str(number), "conversations": turns} for number in range(200)]
    assert load_records(written(tmp_path, json.dumps(records))) == records
    assert len(scanned) == len(records)


def test_reading_stops_with_the_caller(tmp_path):
    path = written(tmp_path, '[{"id": 1}, {"id": 2}, broken')
    stream = stream_records(path)
    assert next(stream) == {"id": 1}
    assert next(stream) == {"id": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        (b"\xef\xbb\xbf[]", "byte order mark"),
        (json.dumps(RECORDS).encode("utf-16"), "UTF-8"),
        (b'[{"id": "\xff"}]', "UTF-8"),
        ('{"id": "a"}', "neither a list"),
        ('{"records": []}', "neither a list"),
        ('"text"', "neither a list"),
        ("not json", "neither a list"),
        ('[{"video_fps": NaN}]', "NaN"),
        ('[{"video_fps": -Infinity}]', "Infinity"),
        ('[{"id": 1},]', "item 1"),
        ('[{"id": 1} {"id": 2}]', "after item 0"),
        ('[{"id": 1}, {"id": 2]', "item 1"),
        ("[{'id': 1}]", "item 0"),
        ('[{"id": 1}', "end"),
        ('[{"id": 1}] trailing', "after the end"),
        ('{"data": [{"id": 1}], oops}', "expected"),
        ('[{"id": "a\nb"}]', "control character"),
        ("[" * 100_000, "nested"),
        ('{"data": [{"id": 1}], "samples": [{"id": 2}]}', "under 'samples' and before it"),
        ('{"info": {"authors": [{"name": "A"}]}, "data": [{"id": 1}]}', "under 'data' and before it"),
    ],
)
def test_what_is_no_strict_json_list_is_refused_with_its_reason(tmp_path, text, reason):
    assert reason in refusal(written(tmp_path, text))


def test_a_broken_line_of_json_lines_is_named(tmp_path):
    assert "line 2" in refusal(written(tmp_path, '{"id": 1}\n{"id": NaN}\n', "a.jsonl"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.json")
    assert "is a folder" in refusal(tmp_path)


def test_an_early_error_in_a_large_file_is_found_without_reading_all_of_it(tmp_path):
    text = '[{"id": 1}, {"id": oops}' + ', {"id": 2}' * 500_000 + "]"
    assert "item 1" in refusal(written(tmp_path, text))
