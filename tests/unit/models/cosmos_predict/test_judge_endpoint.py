"""A judge behind an OpenAI-compatible server on the loopback."""

import base64
import io
import json
import socket
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

import scenes
from chat_server import ChatServer, completion, question_of, serving

from tao_skill_bank.errors import BackendError, BlockedError, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.models.cosmos_predict.config.evaluate import Judge
from tao_skill_bank.models.cosmos_predict.judge_endpoint import EndpointJudge

KEY = "sesame-0123456789"
VARIABLE = "TEST_JUDGE_KEY"


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _connect(server: ChatServer | str, *, retries: int = 0, **changes: object) -> EndpointJudge:
    url = server if isinstance(server, str) else server.url
    options = Judge(endpoint=url, endpoint_model="judge-1", api_key_variable=VARIABLE, num_frames=4, **changes)  # type: ignore[arg-type]
    return EndpointJudge.connect(options, retries=retries)


def test_frames_and_question_reach_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from PIL import Image

    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    levels = range(20, 240, 20)
    clip = scenes.write_clip(tmp_path / "clip.mp4", [np.full((64, 1000, 3), level, np.uint8) for level in levels])
    with serving(lambda _: '{"score": 4}') as server:
        judge = _connect(server, temperature=0.3, max_tokens=77)
        assert judge.ask(judge.watch(clip), "How good?", 12) == '{"score": 4}'
    request = server.requests[-1]
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    body = request["body"]
    assert {key: body[key] for key in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "judge-1", "max_tokens": 77, "temperature": 0.3, "seed": 12,
    }  # fmt: skip
    assert question_of(body) == "How good?"
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    images = [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) for url in urls]
    assert [image.size for image in images] == [(768, 49)] * 4
    shown = [np.asarray(image).mean() for image in images]
    assert shown == pytest.approx([20, 80, 160, 220], abs=6)  # frames 0, 3, 7 and 10, in order


def test_without_a_key_none_is_sent_not_even_that_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_notforthisserver00")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-notforthisserver00")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-notforthisserver")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with serving(lambda _: "ready") as server:
        _connect(server)
    assert "Authorization" not in server.requests[0]["headers"]
    assert "notforthisserver" not in str(server.requests[0]["headers"])


def test_a_list_of_text_parts_and_an_empty_reply_are_replies() -> None:
    parts = json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": "Score: 4"}]}}]}).encode()
    empty = json.dumps({"choices": [{"message": {"content": None}}]}).encode()
    for content, text in ((parts, "Score: 4"), (empty, "")):
        with serving(lambda _, content=content: (200, content, {})) as server:
            assert _connect(server).ask([], "How good?", 0) == text


def _error(reply: object, monkeypatch: pytest.MonkeyPatch | None = None) -> TaoSkillsError:
    with serving(lambda _: reply) as server, pytest.raises(TaoSkillsError) as caught:
        _connect(server)
    return caught.value


def test_a_refused_key_asks_for_a_key_and_never_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    error = _error((401, f'{{"error": "key {KEY} is unknown"}}'.encode(), {}))
    assert isinstance(error, BlockedError)
    assert error.exit_code == 4
    assert "answered 401" in str(error)
    assert KEY not in str(error) + error.problems[0].fix
    assert error.problems[0].fix == f"Set {VARIABLE} to a key of this server."
    monkeypatch.delenv(VARIABLE)
    assert _error((401, b"", {})).problems[0].fix == f"Set the variable {VARIABLE} to its key."


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        ((404, b'{"error": "no model judge-1"}', {}), UnknownNameError, "endpoint_model"),
        ((400, b'{"error": "at most 2 images"}', {}), RequestError, "endpoint_refused"),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), RequestError, "endpoint_redirects"),
        ((503, b"loading", {}), BackendError, "endpoint_busy"),
        ((200, b"<html>Welcome</html>", {}), BackendError, "endpoint_protocol"),
        ((200, b'{"choices": []}', {}), BackendError, "endpoint_protocol"),
        ((200, b'{"choices": [{"message": {"content": 4}}]}', {}), BackendError, "endpoint_protocol"),
        ((200, b"[]", {}), BackendError, "endpoint_protocol"),
        ((200, b"\xff\xfe\x00", {}), BackendError, "endpoint_protocol"),
    ],
)
def test_each_refusal_is_one_clear_error(reply: object, kind: type[TaoSkillsError], code: str) -> None:
    error = _error(reply)
    assert isinstance(error, kind)
    assert [problem.code for problem in error.problems] == [code]
    assert "127.0.0.1" in str(error)


def test_a_busy_server_is_asked_again() -> None:
    replies = iter(
        [
            (429, b"slow down", {"Retry-After": "0.01"}),
            (503, b"", {"Retry-After": "0.01"}),
            (200, completion("ready"), {}),
        ]
    )
    with serving(lambda _: next(replies)) as server:
        _connect(server, retries=2)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BackendError, match=f"http://127.0.0.1:{port}/v1 cannot be reached.*refused"):
            _connect(f"http://127.0.0.1:{port}/v1/")
    with pytest.raises(RequestError) as caught:
        _connect("http://user:secretword@127.0.0.1/v1")
    assert "secretword" not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(BackendError, match="timed out"):
            _connect(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout_seconds=0.2)


def test_a_key_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "secret\nword")
    with pytest.raises(RequestError) as caught:
        _connect("http://127.0.0.1:1/v1")
    assert "word" not in str(caught.value).replace("contains characters", "")
