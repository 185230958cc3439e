"""Records are found by what they ask about their video."""

import json

from tao_skill_bank.runs.gaps import record_index


def test_the_questions_of_unusual_records_are_found_too(tmp_path):
    records = [
        {"id": "frames", "video": ["f/0.png", "f/1.png"], "video_fps": 2, "question": "Which way?", "answer": "left"},
        {"id": 7, "messages": [{"role": "user", "content": [{"type": "video", "video": "b.mp4"}, "Odd?"]}]},
        {"id": "parts", "messages": [
            {"role": "user", "content": [{"type": "video", "video": "c.mp4"}, {"type": "text", "text": "Bus?"}]},
            {"role": "assistant", "content": "yes"},
        ]},
        "none",
    ]  # fmt: skip
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records))
    with record_index.opened(path, "/data", "video", tmp_path) as index:
        found = index.find(["f/0.png", "/data/c.mp4", "b.mp4"], ["Which way?", "<video>Bus?", "Odd?"])
        assert found.tolist() == [0, 2, record_index.NONE]
        assert index.record(2) == record_index.Found("parts", "/data/c.mp4")
    assert list(tmp_path.iterdir()) == [path]


def test_of_equal_questions_the_first_record_is_found(tmp_path):
    turns = [{"from": "human", "value": "<video>Bus?"}, {"from": "gpt", "value": "yes"}]
    path = tmp_path / "annotations.jsonl"
    lines = [json.dumps({"id": f"é{n}", "video": "a.mp4", "video_fps": 4, "conversations": turns}) for n in range(3)]
    path.write_text("\n".join(lines), encoding="utf-8")
    with record_index.opened(path, "/data", "video", tmp_path) as index:
        assert index.find(["a.mp4"], ["Bus?"]).tolist() == [0]
        assert index.record(1).record_id == "é1"
