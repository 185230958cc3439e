"""Model URIs become folders, against a stub of the Hub on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tao_skill_bank.errors import BlockedError, TaoSkillsError, UnknownNameError
from tao_skill_bank.training import fetch

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
        if self.path.startswith("/acme/open/resolve/") and name in FILES:
            return self._send(200, FILES[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'})
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

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
def _hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), StubHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
