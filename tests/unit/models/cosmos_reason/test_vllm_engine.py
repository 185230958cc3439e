"""Evaluation through a server of vLLM's protocol on the loopback. vLLM itself is not run here."""

import base64
import copy
import io
import json
import os
import signal
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from chat_server import question_of, serving

from tao_skill_bank.models.cosmos_reason import tokens
from tao_skill_bank.models.cosmos_reason.conversation import parse, question_and_answer
from tao_skill_bank.models.cosmos_reason.generate import Decoding, answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Processor

from .conftest import Document, diagnosis

Run = Callable[[str, Document], int]
pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server_spec(evaluate_spec: Document) -> Callable[..., Document]:
    def of(url: str | None, **options: Any) -> Document:
        spec = copy.deepcopy(evaluate_spec)
        server = {"max_retries": 0, "timeout_seconds": 30.0, **({"base_url": url} if url else {}), **options}
        spec["evaluation"] |= {"engine": "vllm", "vllm": server}
        return spec

    return of


@pytest.fixture
def tiny_server(tiny_model: Path, processor: Processor) -> Callable[[Document], str]:
    """Answer as a server that has the tiny model: from what the request holds and nothing else."""
    from transformers import Qwen3VLForConditionalGeneration

    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()
    one_at_a_time = threading.Lock()

    def reply(body: Document) -> str:
        part = next(part for part in body["messages"][0]["content"] if part["type"] == "video_url")
        with av.open(io.BytesIO(base64.b64decode(part["video_url"]["url"].partition(",")[2]))) as container:
            rate = Fraction(container.streams.video[0].average_rate or 1)
            decoded = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        pixels = torch.stack(decoded).permute(0, 3, 1, 2)
        frames = Frames(pixels, tokens.timestamps(tuple(range(len(pixels))), float(rate)))
        turns = [{"from": "human", "value": question_of(body)}, {"from": "gpt", "value": "left"}]  # not asked
        prompt = question_and_answer(parse({"video": "v", "conversations": turns}, 0))[0]
        sample = processor.encode(prompt, [frames], max_length=4096, answer=True)
        batch = collate([sample], Padding(processor, side="left"))
        with one_at_a_time:
            return answer(network, batch, processor, Decoding(body["max_tokens"]), torch.device("cpu"))[0]

    return reply


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_server_with_the_model_gives_the_results_of_the_model_here(
    evaluate_spec: Document,
    server_spec: Callable[..., Document],
    tiny_server: Callable[[Document], str],
    run_program: Run,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    assert run_program("evaluate", evaluate_spec) == 0
    with serving(tiny_server, models=(str(tiny_model), "another")) as server:
        spec = server_spec(server.url) | {"results_dir": str(tmp_path / "served")}
        spec["generation"] |= {"repetition_penalty": 1.1, "presence_penalty": 0.5}
        assert run_program("evaluate", spec) == 0
    for name in ("results.json", "metrics_summary.json"):
        assert _read(tmp_path / "served" / name) == _read(tmp_path / "evaluation" / name)
    body = server.requests[0]["body"]
    asked = {"model": str(tiny_model), "max_tokens": 6, "temperature": 0.0, "presence_penalty": 0.5, "top_p": 1.0}
    assert {name: body[name] for name in asked} == asked
    assert (body["repetition_penalty"], body["top_k"]) == (1.1, -1)
    assert body["mm_processor_kwargs"]["do_sample_frames"] is False
    assert body["media_io_kwargs"] == {"video": {"num_frames": -1}}
    assert len(server.requests) == 9


def test_an_answer_that_the_server_cut_is_counted(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    def reply(_: Document) -> Any:
        choice = {"message": {"role": "assistant", "content": "The ball goes"}, "finish_reason": "length"}
        return (200, json.dumps({"choices": [choice]}).encode(), {}) if len(server.requests) <= 2 else "left"

    with serving(reply) as server:
        assert run_program("evaluate", server_spec(server.url, concurrency=1)) == 0
    verdicts = [result["verdict"] for result in _read(tmp_path / "evaluation" / "results.json")]
    assert verdicts.count("cut") == 2
    assert _read(tmp_path / "evaluation" / "metrics_summary.json")["metrics"]["hit_max_tokens"] == 2


def test_questions_are_under_way_together_and_no_more_than_asked_for(
    server_spec: Callable[..., Document], run_program: Run
) -> None:
    together = threading.Barrier(3, timeout=300)  # three requests must be there at once for any to be answered
    under_way, most = [0], [0]
    lock = threading.Lock()

    def reply(_: Document) -> str:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        together.wait()
        with lock:
            under_way[0] -= 1
        return "left"

    with serving(reply) as server:
        assert run_program("evaluate", server_spec(server.url, concurrency=3)) == 0
    assert most[0] == 3


def test_answers_that_were_there_when_the_server_died_are_not_asked_again(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    def dying(_: Document) -> Any:
        return "left" if len(server.requests) <= 4 else (503, b"shutting down", {})

    with serving(dying) as server:
        spec = server_spec(server.url, concurrency=1)
        assert run_program("evaluate", spec) == 6
    told = diagnosis(tmp_path / "evaluation")
    assert told["code"] == "endpoint_busy"
    assert "skip_saved=true" in told["cure"]
    assert len(list((tmp_path / "evaluation" / "samples").glob("*.json"))) == 4
    with serving(lambda _: "right") as server:
        spec["evaluation"] |= {"skip_saved": True}
        spec["evaluation"]["vllm"]["base_url"] = server.url
        assert run_program("evaluate", spec) == 0
        assert len(server.requests) == 5
    given = [result["response"] for result in _read(tmp_path / "evaluation" / "results.json")]
    assert sorted(given) == ["left"] * 4 + ["right"] * 5


def test_an_answer_under_way_when_another_fails_is_kept(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    refused = threading.Event()

    def reply(_: Document) -> Any:
        if len(server.requests) == 1:
            refused.wait(30)  # the first answer comes after the second question was refused
            return "left"
        refused.set()
        return (400, b"too many tokens", {})

    with serving(reply) as server:
        assert run_program("evaluate", server_spec(server.url, concurrency=2)) == 2
    told = diagnosis(tmp_path / "evaluation")
    assert told["code"] == "endpoint_refused"
    assert "too many tokens" in told["cause"]
    assert len(list((tmp_path / "evaluation" / "samples").glob("*.json"))) == 1


def test_a_busy_server_is_asked_again_by_the_client(server_spec: Callable[..., Document], run_program: Run) -> None:
    def reply(_: Document) -> Any:
        return (503, b"loading", {"Retry-After": "0.01"}) if len(server.requests) in (1, 2) else "left"

    with serving(reply) as server:
        assert run_program("evaluate", server_spec(server.url, max_retries=2, concurrency=1)) == 0
    assert len(server.requests) == 9 + 2


@pytest.mark.slow
def test_a_server_that_is_not_there_or_has_another_model_is_one_error(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        assert run_program("evaluate", server_spec(url)) == 6
    told = diagnosis(tmp_path / "evaluation")
    assert told["code"] == "endpoint_unreachable"
    assert url in told["cause"]
    assert "evaluation.vllm.base_url" in told["cure"]
    with serving(lambda _: "left", models=("one", "two")) as server:
        assert run_program("evaluate", server_spec(server.url)) == 5
        told = diagnosis(tmp_path / "evaluation")
        assert told["code"] == "endpoint_model"
        assert "it has: one, two" in told["cause"]
        assert run_program("evaluate", server_spec(server.url, model="three")) == 5
        assert "'three'" in diagnosis(tmp_path / "evaluation")["cause"]
        assert server.requests == []
        assert run_program("evaluate", server_spec(server.url, model="two")) == 0
        assert {request["body"]["model"] for request in server.requests} == {"two"}


def test_a_slow_server_is_given_up_after_the_time_of_the_spec(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    release = threading.Event()
    with serving(lambda _: str(release.wait(30))) as server:
        assert run_program("evaluate", server_spec(server.url, timeout_seconds=0.3, concurrency=2)) == 6
        release.set()
    assert "timed out after 0.3 seconds" in diagnosis(tmp_path / "evaluation")["cause"]


def test_a_canceled_evaluation_does_not_wait_for_its_server(
    server_spec: Callable[..., Document], run_program: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release = threading.Event()

    def reply(_: Document) -> str:
        if len(server.requests) > 1:
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()  # while its answer is waited for
            release.wait(600)
        return "left"

    began = time.monotonic()
    with serving(reply) as server:
        assert run_program("evaluate", server_spec(server.url, concurrency=1, timeout_seconds=600.0)) == 128 + 15
        took = time.monotonic() - began
        release.set()
    assert took < 300
    assert diagnosis(tmp_path / "evaluation")["code"] == "canceled"


def test_a_question_without_room_for_its_answer_is_not_sent(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    with serving(lambda _: "left") as server:
        spec = server_spec(server.url)
        spec["model"]["max_length"] = 20
        assert run_program("evaluate", spec) == 3
    assert diagnosis(tmp_path / "evaluation")["code"] == "question_too_long"
    assert server.requests == []


def test_what_a_server_cannot_do_is_refused(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    spec = server_spec("http://127.0.0.1:1/v1")
    spec["vision"]["video_start"] = 0.5
    spec["model"] |= {"enable_lora": True, "base_model_path": str(tmp_path)}
    assert run_program("evaluate", spec) == 2
    told = diagnosis(tmp_path / "evaluation")
    assert "video_start" in told["cause"]
    assert "adapter" in told["cause"]


FAKE_VLLM = """
    import json, sys
    from chat_server import ChatServer

    class Server(ChatServer):
        def __init__(self, port, model):
            super().__init__(lambda body: "left", (model,))
            self.server_close()
            from http.server import ThreadingHTTPServer
            from chat_server import _Handler
            ThreadingHTTPServer.__init__(self, ("127.0.0.1", port), _Handler)

    words = sys.argv[1:]
    flags = dict(zip(words[2::2], words[3::2]))
    print("started with", json.dumps([words[0], words[1], flags]), flush=True)
    if "FAIL" in flags["--served-model-name"]:
        sys.exit("ValueError: not enough memory for the KV cache")
    Server(int(flags["--port"]), flags["--served-model-name"]).serve_forever()
"""


@pytest.fixture
def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package called vllm whose `serve` answers every question with left."""
    package = tmp_path / "site" / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "main.py").write_text(textwrap.dedent(FAKE_VLLM))
    support = str(Path(__file__).parents[3] / "support")
    known = ":".join([str(tmp_path / "site"), support, *(path for path in sys.path if path)])
    monkeypatch.setenv("PYTHONPATH", known)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.usefixtures("fake_vllm")
def test_without_an_address_a_server_is_started_and_ended_with_the_run(
    server_spec: Callable[..., Document], run_program: Run, tiny_model: Path, tmp_path: Path
) -> None:
    import psutil

    assert run_program("evaluate", server_spec(None, start_seconds=600.0)) == 0
    assert {result["response"] for result in _read(tmp_path / "evaluation" / "results.json")} == {"left"}
    line = (tmp_path / "evaluation" / "vllm_server_0.log").read_text().splitlines()[0]
    verb, model, flags = json.loads(line.removeprefix("started with "))
    assert (verb, model) == ("serve", str(tiny_model))
    assert (flags["--max-model-len"], flags["--dtype"], flags["--generation-config"]) == ("2048", "float32", "vllm")
    left = psutil.Process().children(recursive=True)
    alive = [child for child in left if child.status() != psutil.STATUS_ZOMBIE]  # an ended one waits to be collected
    assert not any(flags["--port"] in child.cmdline() for child in alive)


@pytest.mark.usefixtures("fake_vllm")
def test_a_server_that_does_not_start_tells_the_end_of_its_log(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    began = time.monotonic()
    assert run_program("evaluate", server_spec(None, model="FAIL")) == 8
    told = diagnosis(tmp_path / "evaluation")
    assert told["code"] == "vllm_not_started"
    assert "not enough memory for the KV cache" in told["cause"]
    assert time.monotonic() - began < 600  # start_seconds is 1200: its death is noticed


def test_without_vllm_the_extra_is_named(
    server_spec: Callable[..., Document], run_program: Run, tmp_path: Path
) -> None:
    assert run_program("evaluate", server_spec(None)) == 3
    assert "tao-skill-bank[vllm]" in diagnosis(tmp_path / "evaluation")["cure"]
