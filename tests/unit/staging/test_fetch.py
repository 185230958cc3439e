"""Model URIs become folders, against a stub of the Hub on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from runs import eventually

from tao_skill_bank.errors import BlockedError, TaoSkillsError, UnknownNameError
from tao_skill_bank.staging import fetch

FILES = {"config.json": b'{"model_type": "qwen3_vl"}', "tokenizer.json": b"{}"}
COMMIT = "a" * 40


class StubHub(BaseHTTPRequestHandler):
    """Serves acme/open, refuses acme/gated as the Hub does, knows nothing else."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "acme/gated" in self.path:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        if self.path.startswith("/api/models/acme/open"):
            files = [{"rfilename": name} for name in FILES]
            tree = [{"type": "file", "path": name, "size": len(body), "oid": "0" * 40} for name, body in FILES.items()]
            listing = tree if "/tree/" in self.path else {"id": "acme/open", "sha": COMMIT, "siblings": files}
            return self._send(200, json.dumps(listing).encode())
        name = self.path.rsplit("/", 1)[-1]
        if "/resolve/" in self.path and self.command == "GET" and hasattr(self.server, "gets"):
            self.server.gets.append((name, self.headers.get("Range")))
        if name == "model.safetensors" and self.command == "GET":
            return self._send_weights(FILES[name])
        if self.path.startswith("/acme/open/resolve/") and name in FILES:
            return self._send(200, FILES[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'})
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send_weights(self, body: bytes) -> None:
        """Send a half, and the rest once the test says so, or never; ranges are answered."""
        server: Any = self.server
        if asked := self.headers.get("Range"):
            return self._send(206, body[int(asked.removeprefix("bytes=").partition("-")[0]) :])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: len(body) // 2])
            server.asked.set()
            if not server.drops:
                server.ended.wait(60)
                self.wfile.write(body[len(body) // 2 :])
        return None

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot of acme/open in a Hugging Face cache, while the Hub is switched off."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    storage = tmp_path / "hub" / "models--acme--open"
    for name, body in {f"blobs/{name}": body for name, body in FILES.items()}.items():
        (storage / name).parent.mkdir(parents=True, exist_ok=True)
        (storage / name).write_bytes(body)
    (storage / "blobs" / "weights").write_bytes(b"weights")
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(COMMIT)
    snapshot = storage / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in FILES:
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    (snapshot / "model.safetensors").symlink_to("../../blobs/weights")
    return snapshot


@pytest.fixture
def _hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), StubHub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    yield
    server.shutdown()


@pytest.mark.usefixtures("_hub")
def test_a_hub_model_is_downloaded_once_and_whole(tmp_path: Path) -> None:
    out = fetch.fetch("hf_model://acme/open", tmp_path / "model")
    assert {path.name for path in out.iterdir()} == set(FILES)
    (out / "tokenizer.json").write_text("changed")
    fetch.fetch("hf_model://acme/open", tmp_path / "model")
    assert (out / "tokenizer.json").read_text() == "changed"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("_hub")
def test_a_gated_model_names_its_page_and_the_missing_variable(tmp_path: Path) -> None:
    with pytest.raises(BlockedError) as caught:
        fetch.fetch("hf_model://acme/gated", tmp_path / "model")
    assert "HF_TOKEN" in str(caught.value)
    assert "https://huggingface.co/acme/gated" in caught.value.problems[0].fix
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_hub")
def test_a_refused_token_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretvalue")
    with pytest.raises(BlockedError) as caught:
        fetch.fetch("hf_model://acme/gated", tmp_path / "model")
    assert "hf_secretvalue" not in str(caught.value.problems)


@pytest.mark.usefixtures("_hub")
def test_an_unknown_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TaoSkillsError, match="acme/nothing"):
        fetch.fetch("acme/nothing", tmp_path / "model")


def test_an_unknown_builtin_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        fetch.fetch("builtin://nothing", tmp_path / "model")
    assert "tiny-cosmos-reason" in caught.value.problems[0].fix


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("keep")
    monkeypatch.setattr(fetch, "_make_builtin", lambda _, folder: (folder / "config.json").write_text("{}"))
    with pytest.raises(BlockedError):
        fetch.fetch("builtin://tiny-cosmos-reason", tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "keep"


def test_a_model_in_the_cache_is_used_while_the_hub_is_off(cache: Path, tmp_path: Path) -> None:
    out = fetch.fetch("hf_model://acme/open", tmp_path / "models" / "open")
    assert {path.name for path in out.iterdir()} == {*FILES, "model.safetensors"}
    assert not any(path.is_symlink() for path in out.iterdir())
    assert (out / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("index", [None, {"weight_map": {"a": "model.safetensors", "b": "second.safetensors"}}])
def test_a_model_that_the_cache_holds_in_part_is_refused(cache: Path, tmp_path: Path, index: object) -> None:
    if index:
        (cache / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        (cache / "model.safetensors").unlink()
    with pytest.raises(BlockedError) as caught:
        fetch.fetch("hf_model://acme/open", tmp_path / "models" / "open")
    assert caught.value.problems[0].code == "hub_offline"
    assert list((tmp_path / "models").iterdir()) == []


def test_a_uri_is_made_in_the_folder_that_the_control_plane_expects(cache: Path, state_dir: Path) -> None:
    for uri in ("acme/open", "hf_model://acme/open"):
        assert fetch.to_cache(uri) == state_dir / "models" / "hub" / "acme--open"
    with pytest.raises(UnknownNameError):
        fetch.to_cache("/nowhere")


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stub of the Hub whose model has 24 MiB of weights, half of which come at first."""
    monkeypatch.setitem(FILES, "model.safetensors", os.urandom(24 * 2**20))
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), StubHub)
    server.asked, server.ended, server.gets, server.drops = threading.Event(), threading.Event(), [], False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()


def command_of(server: Any, out: Path, home: Path) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "tao_skill_bank.training.fetch", "hf_model://acme/open", str(out)]
    address = f"http://127.0.0.1:{server.server_address[1]}"
    return command, {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}


def test_a_dropped_connection_is_gone_on_with_where_it_ended(tmp_path: Path, weights: Any) -> None:
    weights.drops = True
    out = tmp_path / "models" / "open"
    command, environment = command_of(weights, out, tmp_path / "home")
    assert subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert (out / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    first, second = [asked for name, asked in weights.gets if name == "model.safetensors"]
    assert first is None
    assert second == f"bytes={10 * 2**20}-"  # the client writes 10 MiB at a time


@pytest.mark.slow
def test_a_killed_download_is_gone_on_with_by_the_next_process(tmp_path: Path, weights: Any) -> None:
    out = tmp_path / "models" / "open"
    command, environment = command_of(weights, out, tmp_path / "home")
    process = subprocess.Popen(command, env=environment)
    try:
        assert weights.asked.wait(60)
        eventually(lambda: sum(path.name in FILES for path in out.parent.rglob("*")) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert not out.exists()
    weights.ended.set()
    weights.gets.clear()
    assert subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert (out / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert [name for name, _ in weights.gets] == ["model.safetensors"]
    assert [path.name for path in out.parent.iterdir()] == ["open"]


# --- several processes --------------------------------------------------------------------------------------------

COUNTED = """
import sys, time
from pathlib import Path
from tao_skill_bank.staging import fetch
def slow(name, folder):
    Path(sys.argv[2], str(time.monotonic_ns())).touch()
    while sys.argv[3] and not Path(sys.argv[3]).exists():
        time.sleep(0.02)
    (folder / "config.json").write_text("{}")
fetch._make_builtin = slow
print(fetch.fetch("builtin://tiny-cosmos-reason", Path(sys.argv[1])), flush=True)
"""


def create(out_dir: Path, made: Path, go: str = "") -> "subprocess.Popen[str]":
    made.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", COUNTED, str(out_dir), str(made), go], stdout=subprocess.PIPE, text=True
    )


def test_of_two_that_create_a_model_one_works_and_the_other_uses_it(tmp_path: Path) -> None:
    out_dir, made, go = tmp_path / "models" / "tiny", tmp_path / "made", tmp_path / "go"
    both = [create(out_dir, made, str(go)) for _ in range(2)]
    eventually(lambda: any(made.iterdir()))
    go.touch()
    for process in both:
        assert process.communicate(timeout=600)[0].strip() == str(out_dir)
        assert process.returncode == 0
    assert len(list(made.iterdir())) == 1
    assert [path.name for path in out_dir.parent.iterdir()] == ["tiny"]


def test_a_killed_creation_leaves_nothing_that_the_next_one_does_not_clean(tmp_path: Path) -> None:
    out_dir, made = tmp_path / "models" / "tiny", tmp_path / "made"
    process = create(out_dir, made, str(tmp_path / "never"))
    eventually(lambda: any(made.iterdir()))
    (out_dir.parent / ".tiny.part" / "half.safetensors").write_bytes(b"half")
    process.kill()
    process.communicate()
    again = create(out_dir, made)
    assert again.communicate(timeout=600)[0].strip() == str(out_dir)
    assert [path.name for path in out_dir.parent.iterdir()] == ["tiny"]
    assert not (out_dir / "half.safetensors").exists()
