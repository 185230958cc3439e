import json

from tao_skill_bank.core import durable_lines


def test_lines_are_appended_whole_even_after_a_torn_one(tmp_path):
    path = tmp_path / "lines.jsonl"
    durable_lines.append(path, [{"a": 1}, {"b": "é"}])
    with path.open("ab") as file:
        file.write(b'{"torn')
    durable_lines.append(path, [{"c": "half \ud800"}])
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines[:2]] == [{"a": 1}, {"b": "é"}]
    assert lines[2] == '{"torn'
    assert json.loads(lines[3]) == {"c": "half \ud800"}
