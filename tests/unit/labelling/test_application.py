"""The page of a review, asked as a browser asks, and in a real one."""

import json

import pytest
from chromium import browsing

from tao_skill_bank.labelling import review_file


@pytest.fixture
def server(serve, review, labelled):
    return serve(review, labelled / "media").enter()


def test_without_the_token_nothing_is_shown_or_decided(serve, review, labelled):
    server = serve(review, labelled / "media")
    for path in ("/", "/records/0", "/records/0/media", "/review.js"):
        status, _, content = server.ask(path)
        assert status == 401
        assert b"tao-skills label review" in content
    assert server.decide(0, "accept")[0] == 401
    assert len(review_file.read(review.path).undecided) == 3


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
def test_a_page_of_another_site_decides_nothing(server, review, origin):
    assert server.decide(0, "accept", origin=origin)[0] == 403
    assert len(review_file.read(review.path).undecided) == 3


def test_a_decision_is_in_the_file_when_the_page_gets_its_answer(server, review):
    status, content = server.decide(1, "correct", "right")
    assert (status, json.loads(content)) == (200, {"next": "/records/2"})
    again = review_file.read(review.path)
    assert again.decisions == {list(review.items)[1]: review_file.Decision("correct", "right")}


@pytest.mark.parametrize(
    ("index", "decision", "correction"),
    [(0, "perhaps", ""), (0, "correct", ""), (0, "correct", "<image>"), (3, "accept", ""), (0, "correct", "x" * 2**21)],
)
def test_what_is_no_decision_is_refused_with_a_reason(server, review, index, decision, correction):
    status, content = server.decide(index, decision, correction)
    assert status == 400
    assert json.loads(content)["error"]
    assert len(review_file.read(review.path).undecided) == 3


def test_a_clip_is_sent_in_ranges_and_no_address_names_a_file(server, labelled):
    status, headers, content = server.ask("/records/0/media", range="bytes=10-19")
    assert (status, headers["content-type"]) == (206, "video/mp4")
    assert content == (labelled / "media" / "videos" / "0.mp4").read_bytes()[10:20]
    for path in ("/records/9/media", "/records/-1", "/records/../review.jsonl", "/review.jsonl", "/records/x"):
        assert server.ask(path)[0] == 404


def test_the_page_starts_at_the_first_record_without_a_decision(server):
    server.decide(0, "reject")
    assert server.ask("/")[1]["location"] == "/records/1"
    assert "1 rejected" in server.ask("/records/0")[2].decode()


@pytest.mark.slow
def test_records_are_decided_by_keyboard_in_a_browser(serve, review, labelled, tmp_path):
    server = serve(review, labelled / "media")
    with browsing(tmp_path) as page:
        page.open(server.url)
        at = "document.querySelector('main').dataset.index == '{}'".format
        page.wait(at(0))
        page.wait("document.querySelector('video')?.videoWidth == 64")
        page.press("n")
        page.wait(at(1))
        page.press("p")
        page.wait(at(0))
        page.press("a")
        page.wait(at(1))
        page.press("c")
        page.write("up")
        page.press("Escape")
        assert page.value("document.getElementById('answer').value") == "left"
        page.press("c")
        page.write("right, a")
        page.press("r")
        page.press("Enter")
        page.wait(at(2))
        page.press("c")
        page.write("<video>")
        page.press("Enter")
        page.wait("!document.getElementById('error').hidden")
        page.press("Escape")
        page.press("r")
        page.wait("document.getElementById('state').textContent == 'Rejected'")
        problems = [entry for entry in page.console if "decision" not in str(entry)]
        page.press("x")
        page.wait("document.getElementById('state').textContent == 'Not decided'")
    first, second, third = review.items
    again = review_file.read(review.path)
    assert again.decisions[first].choice == "accept"
    assert again.decisions[second] == review_file.Decision("correct", "right, ar")
    assert again.undecided == [third]
    assert problems == []
