"""A look at a dataset from the command line, as a process."""

import json
import re
import subprocess
import sys

import pytest


@pytest.fixture
def clips(dataset):
    """A dataset root of four records with a clip each."""
    return dataset()


def run(*words):
    command = [sys.executable, "-m", "tao_skill_bank", "data", "check", *map(str, words)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in finished.stderr
    return finished


@pytest.mark.slow
def test_a_sound_dataset_is_described_and_exits_with_0(clips):
    finished = run(clips)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == f"{clips}: annotations"
    assert "all\t4\trecords\t4\t0\t12.0" in lines
    assert f"64x64\t4\t100%\t{'█' * 40}" in lines
    assert any(line.startswith("Tokens (by defaults of tao-finetune-cosmos-reason)") for line in lines)


@pytest.mark.slow
def test_one_json_document_has_everything(clips):
    (clips / "videos" / "2.mp4").write_bytes(b"")
    finished = run(clips, "--json")
    document = json.loads(finished.stdout)
    assert (finished.returncode, document["code"], document["ok"]) == (3, 3, False)
    blocking = [found for found in document["findings"] if found["severity"] == "blocking"]
    assert [(found["code"], found["evidence"]["records"]) for found in blocking] == [("media_unreadable", [2])]
    assert document["splits"][0]["num_broken"] == 1
    tokens = next(each for each in document["histograms"] if each["title"] == "Tokens")
    assert sum(bar["count"] for bar in tokens["bars"]) == 3


@pytest.mark.slow
def test_the_page_needs_nothing_else(clips, tmp_path):
    page = tmp_path / "pages" / "data.html"
    finished = run(clips, "--html", page)
    assert finished.returncode == 0, finished.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") >= 5
    assert not re.search(r"<script|src=|href=|url\(|@import", text)


@pytest.mark.slow
def test_records_are_held_to_what_their_reader_needs(clips):
    records = json.loads((clips / "annotations.json").read_text())
    del records[1]["video_fps"]
    records[2]["conversations"][1]["value"] = "left<|im_end|>"
    (clips / "annotations.json").write_text(json.dumps(records))
    finished = run(clips / "annotations.json", "--media", clips, "--json")
    codes = {found["code"] for found in json.loads(finished.stdout)["findings"] if found["severity"] == "blocking"}
    assert finished.returncode == 3
    assert "video_fps_missing" in codes
    assert len(codes) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [(["absent"], 3, "does not exist"), ([".", "--kind", "videos"], 2, "--kind annotations|captioned_clips")],
)
def test_a_mistake_is_one_clear_error(words, code, said):
    finished = run(*words)
    assert (finished.returncode, finished.stdout) == (code, "")
    assert said in finished.stderr
