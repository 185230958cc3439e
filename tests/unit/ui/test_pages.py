import json
import re

import pytest

from tao_skill_bank.contracts import State
from tao_skill_bank.ui import pages as page_texts


def test_without_jobs_the_page_says_how_to_run_one(pages):
    assert "tao-skills demo" in pages.get("/").text


def test_jobs_are_listed_counted_and_found_by_state_and_words(pages, recorded):
    training, failed = recorded("train"), recorded("evaluate", State.ERROR, "Out of memory. Lower the batch.")
    text = pages.get("/").text
    assert training in text
    assert failed in text
    assert "Out of memory." in text
    only_failed = pages.get("/?state=ERROR").text
    assert failed in only_failed
    assert training not in only_failed
    by_words = pages.get("/?words=COSMOS+train").text
    assert training in by_words
    assert failed not in by_words
    assert "No job matches" in pages.get("/?words=nothing-like-it").text


def test_a_page_asks_again_only_while_a_job_runs(recorded, tmp_path):
    recorded("train")
    assert "data-refresh-seconds" not in page_texts.of_jobs()
    recorded("train", State.RUNNING, folder=tmp_path / "running")
    assert "data-refresh-seconds" in page_texts.of_jobs()


def test_a_job_shows_its_curves_metrics_and_the_end_of_its_log(pages, recorded, folders):
    log = folders["train"].log_file
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"line {number}\n" for number in range(9000)) + "key: hf_" + "a" * 34 + "\n")
    text = pages.get(f"/jobs/{recorded('train')}").text
    assert text.count("<svg") == 2
    assert "train/tokens_per_second" in text
    assert "line 8999" in text
    assert "line 1\n" not in text
    assert "hf_aaaa" not in text


def test_the_report_is_the_page_of_the_command_and_nothing_is_written(pages, recorded, folders):
    before = sorted(path.name for path in folders["evaluate"].path.iterdir())
    text = pages.get(f"/jobs/{recorded('evaluate')}/report").text
    assert "Confusion matrix" in text
    assert sorted(path.name for path in folders["evaluate"].path.iterdir()) == before


@pytest.mark.parametrize("path", ["", "/report", "/clips", "/clips/0"])
def test_an_unknown_job_is_a_page_that_says_so(pages, path):
    answer = pages.get(f"/jobs/cosmos-rl-train-000000000000{path}")
    assert answer.status == 404
    assert "There is no such job" in answer.text


@pytest.mark.parametrize("path", ["/..", "/jobs/..%2f..%2fetc", "/jobs/%00", "/jobs/a/b/c/d", "/static/ui.js"])
def test_an_odd_address_leads_nowhere(pages, path):
    assert pages.get(path).status == 404


def test_clips_are_shown_with_question_truth_and_verdict(pages, recorded):
    job = recorded("evaluate")
    text = pages.get(f"/jobs/{job}/clips").text
    assert text.count("<video") == 24
    wrong = pages.get(f"/jobs/{job}/clips?shown=wrong").text
    assert sorted(map(int, re.findall(r'clips/(\d+)"', wrong))) == [4, 17]
    assert wrong.count("✗") == 2


def test_a_clip_is_sent_in_ranges_as_players_ask_for_them(pages, recorded, folders):
    job = recorded("evaluate")
    whole = pages.get(f"/jobs/{job}/clips/4")
    file = folders["evaluate"].path.parent / "data" / "clips" / "004.mp4"
    assert whole.body == file.read_bytes()
    assert whole.headers["content-type"] == "video/mp4"
    part = pages.get(f"/jobs/{job}/clips/4", range="bytes=10-19")
    assert (part.status, part.body) == (206, whole.body[10:20])


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../../../etc/passwd", "results.json", "clips/none.mp4"])
def test_results_that_name_other_files_send_none(pages, recorded, tmp_path, folders, path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("plan.json", "metrics_summary.json"):
        (folder / name).write_bytes((folders["evaluate"].path / name).read_bytes())
    entry = {"video_id": path, "question": "Which?", "response": "left", "gt": "left"}
    (folder / "results.json").write_text(json.dumps([entry]))
    job = recorded("evaluate", folder=folder)
    assert "not on this machine" in pages.get(f"/jobs/{job}/clips").text
    assert pages.get(f"/jobs/{job}/clips/0").status == 404


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "two", "", "²"])
def test_a_page_number_that_is_none_is_a_page_that_exists(recorded, pages, number):
    from urllib.parse import quote

    assert pages.get(f"/jobs/{recorded('evaluate')}/clips?page={quote(number)}").status == 200
