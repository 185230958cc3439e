import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

import pytest
from preflight_worlds import codes, make_job, only

from tao_skill_bank.preflight.storage import credentials
from tao_skill_bank.weights import model_uri

REPOSITORY = "nvidia/Cosmos-Reason2-8B"
SECRET = "hf_" + "s3cr3t" * 5


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: by repository name, with the error header that the client reads."""

    answers = MappingProxyType(
        {
            f"/api/models/{REPOSITORY}/auth-check": (200, ""),
            f"/api/models/{REPOSITORY}/revision/main": (200, ""),
            f"/api/models/{REPOSITORY}/revision/gone": (404, "RevisionNotFound"),
            "/api/models/org/gated/auth-check": (403, "GatedRepo"),
            "/api/models/org/bad-token/auth-check": (401, ""),
            "/api/models/org/broken/auth-check": (500, ""),
        }
    )

    def do_GET(self):
        status, code = self.answers.get(self.path.partition("?")[0], (404, "RepoNotFound"))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        body = b'{"id": "x", "modelId": "x"}' if status == 200 else b"{}"
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def with_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)


def findings_of(tmp_path, model=f"hf_model://{REPOSITORY}", **workload):
    return credentials.check(make_job(tmp_path, model=model, **workload))


def test_a_missing_token_blocks_by_name(tmp_path):
    found = findings_of(tmp_path)
    assert codes(found, "blocking") == ["credential_missing"]
    assert "HF_TOKEN" in found[0].message


def test_a_token_that_the_platform_holds_is_not_asked_for_here(tmp_path):
    job = make_job(tmp_path, model=f"hf_model://{REPOSITORY}", options={"secret": "tokens"})
    (found,) = credentials.check(job)
    assert (found.code, found.severity) == ("hub_access_not_checked", "not_checked")
    assert "Secret tokens" in found.message


def test_an_empty_token_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", " ")
    assert codes(findings_of(tmp_path)) == ["credential_missing"]


@pytest.mark.parametrize("model", ["builtin://tiny-cosmos-reason", "/models/local", "org/name"])
def test_a_checkpoint_that_is_not_the_hubs_needs_no_token(tmp_path, model):
    assert findings_of(tmp_path, model) == []


def test_a_hub_checkpoint_that_lies_here_needs_no_token_and_no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(credentials, "_ask_hub", lambda *_: pytest.fail("the hub was asked"))
    folder = model_uri.local_folder(f"hf_model://{REPOSITORY}")
    folder.mkdir(parents=True)
    assert codes(findings_of(tmp_path)) == ["credential_missing"]
    (folder / "config.json").write_text("{}")
    assert findings_of(tmp_path) == []


def test_the_base_of_an_adapter_needs_a_token_too(tmp_path):
    found = findings_of(tmp_path, "/models/adapter", base_model=f"hf_model://{REPOSITORY}")
    assert codes(found) == ["credential_missing"]


def test_offline_mode_needs_no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert findings_of(tmp_path) == []


def test_a_credential_that_is_not_required_may_be_missing(tmp_path, hub):
    job = make_job(tmp_path, model=f"hf_model://{REPOSITORY}")
    job = replace(job, credentials=(replace(job.credentials[0], required=False),))
    assert codes(credentials.check(job)) == ["hub_access"]


@pytest.mark.usefixtures("hub", "with_token")
@pytest.mark.parametrize(
    ("model", "code", "severity"),
    [
        (REPOSITORY, "hub_access", "info"),
        (f"{REPOSITORY}@main", "hub_access", "info"),
        (f"{REPOSITORY}@gone", "checkpoint_missing", "blocking"),
        ("org/gated", "credential_gated", "blocking"),
        ("org/bad-token", "credential_rejected", "blocking"),
        ("org/absent", "checkpoint_missing", "blocking"),
        ("org/broken", "hub_unreachable", "not_checked"),
    ],
)
def test_the_hubs_answer_becomes_a_finding(tmp_path, model, code, severity):
    found = only(findings_of(tmp_path, f"hf_model://{model}"), code)
    assert found.severity == severity
    assert SECRET not in str(found)


@pytest.mark.slow
@pytest.mark.usefixtures("hub", "with_token")
def test_a_gated_repository_names_its_agreement_page(tmp_path):
    assert "https://huggingface.co/org/gated" in findings_of(tmp_path, "hf_model://org/gated")[0].fix


@pytest.mark.usefixtures("with_token")
def test_a_hub_that_cannot_be_reached_is_not_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found = findings_of(tmp_path)
    assert [(finding.code, finding.severity) for finding in found] == [("hub_unreachable", "not_checked")]


@pytest.mark.usefixtures("with_token")
def test_a_hub_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    release = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self):
            release.wait(30)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(credentials, "HUB_TIMEOUT_SECONDS", 1)
    found = findings_of(tmp_path)
    release.set()
    server.shutdown()
    server.server_close()
    assert codes(found, "not_checked") == ["hub_unreachable"]
