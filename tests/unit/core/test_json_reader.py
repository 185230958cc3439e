import json

import pytest

from tao_skill_bank.core import json_reader
from tao_skill_bank.core.limits import MAX_DEPTH, TOO_DEEP
from tao_skill_bank.errors import BlockedError


@pytest.mark.parametrize("value", [None, 0, -1.5, "a\nb", "[{" * 600, {"a": [{"b": "ü"}]}, [[]] * MAX_DEPTH])
def test_json_is_read_from_text_and_from_utf_8_with_or_without_a_byte_order_mark(value):
    text = json.dumps(value, ensure_ascii=False)
    assert json_reader.loads(text) == value
    assert json_reader.loads(text.encode()) == value
    assert json_reader.loads(text.encode("utf-8-sig")) == value


@pytest.mark.parametrize(
    "data",
    ["", "{", "{'a': 1}", "[1,]", b"\xff\xfe", b'"\xe9"', "9" * 5000, '{"a": ' + "9" * 5000 + "}", "\x00"],
    ids=["empty", "cut", "quotes", "comma", "utf_16", "latin_1", "long", "long_inside", "nul"],
)
def test_what_is_not_json_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        json_reader.loads(data)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5_000, 200_000])
@pytest.mark.parametrize("ends", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_a_document_that_is_nested_too_deep_says_so(depth, ends):
    start, end = ends
    with pytest.raises(ValueError, match=TOO_DEEP):
        json_reader.loads(start * depth + "1" + end * depth)


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\uDFFF"', '"\udc80"', r'{"\ud83d": ["\ud83d"]}'])
def test_half_a_character_is_read_as_the_mark_of_a_lost_one(text):
    read = json.dumps(json_reader.loads(text), ensure_ascii=False)
    assert "\ufffd" in read
    assert read.encode().decode() == read


def test_a_whole_character_written_as_a_pair_stays():
    assert json_reader.loads(r'"\ud83d\ude00"') == "😀"


@pytest.mark.parametrize(
    ("data", "why"), [(None, "No such file"), (b"[1]", "not an object"), (b"null", "not an object"), (b"{", "line 1")]
)
def test_a_file_without_an_object_is_one_error_with_its_path_and_the_fix(tmp_path, data, why):
    if data is not None:
        (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(BlockedError, match=why) as caught:
        json_reader.read_object(tmp_path / "index.json", "Copy it again.")
    (problem,) = caught.value.problems
    assert (problem.path, problem.fix) == (str(tmp_path / "index.json"), "Copy it again.")


def test_an_object_of_a_file_is_read(tmp_path):
    (tmp_path / "index.json").write_bytes(b'{"a": 1}')
    assert json_reader.read_object(tmp_path / "index.json", "Copy it again.") == {"a": 1}
