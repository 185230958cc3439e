import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from tao_skill_bank.cli.main import main

pytest.importorskip("av")

from preflight_worlds import make_record


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps([make_record(index) for index in range(2)]))
    return path


def call(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["label", *map(str, words), "--json"])
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_an_export_names_the_import_and_only_what_was_decided_comes_back(capsys, annotations, tmp_path):
    code, said = call(capsys, "export", annotations)
    assert (code, said["records"], said["counts"]["undecided"]) == (0, 2, 2)
    assert said["next"] == [f"tao-skills label import {said['review']} --out {tmp_path / 'reviewed.json'}"]
    lines = [json.loads(line) for line in (tmp_path / "review.jsonl").read_text().splitlines()]
    lines[1]["decision"] = "accept"
    (tmp_path / "review.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, said = call(capsys, "import", tmp_path / "review.jsonl", "--out", tmp_path / "reviewed.json")
    assert (code, said["counts"]) == (0, {"accept": 1, "correct": 0, "reject": 0, "undecided": 1})
    assert json.loads((tmp_path / "reviewed.json").read_text()) == [make_record(0)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export", "no-such-job"), 5),
        (("import", "gone.jsonl", "--out", "new.json"), 3),
        (("export", "{annotations}", "--out", "{annotations}"), 3),
    ],
)
def test_what_cannot_be_reviewed_ends_in_one_error(capsys, annotations, words, code):
    ended, said = call(capsys, *(word.format(annotations=annotations) for word in words))
    assert ended == code
    assert said["errors"][0]["fix"]


def test_the_page_of_a_review_is_served_until_it_is_stopped(annotations):
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "tao_skill_bank", "label", "review", str(annotations), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = ""
        while not text.endswith("\n}\n"):
            text += process.stdout.readline()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        with opener.open(json.loads(text)["url"]) as page:
            assert "Record 1 of 2" in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) in (0, 130)
