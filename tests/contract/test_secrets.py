"""Secrets planted wherever one may come from are shown on no screen and written into no file of ours.

Out of scope, because it is data or somebody else's: annotations, captions, a model's answers and the names of files,
and what a foreign program writes into the run directory itself. The screens mask that, too.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from report_runs import make_training, write, write_lines
from runs import make_job, make_plan, make_record

from tao_skill_bank.cli.main import main
from tao_skill_bank.contracts import Finding, Request, Route, State, Transition, to_json
from tao_skill_bank.core import settings
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs import events
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import gate, planner
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory, timestamp, write_whole
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter

SKILL = "tao-finetune-cosmos-reason"
DATA = ["--train", "d", "--eval", "d"]


def secret(place: str) -> str:
    """Return a secret of its own for a place: no two share eight characters."""
    return f"q7Z{hashlib.sha256(place.encode()).hexdigest()[:16]}Xk9"


# What a request can hold, by the place; {} is the secret. Each is refused.
IN_A_REQUEST = {
    "override by format": [*DATA, "--set", "custom.system_prompt=use hf_{}"],
    "override by name": [*DATA, "--set", "logging.api_key={}"],
    "override in a nested value": [*DATA, "--set", "custom.vision={{hf_token: {}}}"],
    "override in an argument list": [*DATA, "--set", "custom.arguments=['--token', '{}']"],
    "override in a pair": [*DATA, "--set", "custom.env=[{{name: NGC_KEY, value: {}}}]"],
    "override, key": [*DATA, "--set", "custom.nvapi-{}=1"],
    "override, bearer": [*DATA, "--set", "custom.system_prompt=Authorization: Bearer {}"],
    "override, block": [*DATA, "--set", 'custom.system_prompt="password: |\\n  {}"'],
    "model, user part": [*DATA, "--set", "policy.model_name_or_path=https://me:{}@host/model"],
    "model, hub token": [*DATA, "--set", "policy.model_name_or_path=hf_model://hf_{}@org/name"],
    "model, s3": [*DATA, "--set", "policy.model_name_or_path=s3://AKIA:{}@bucket/model"],
    "train, s3": ["--train", "s3://AKIA:{}@bucket/train", "--eval", "d"],
    "train, signed": ["--train", "https://host/train?X-Amz-Signature={}", "--eval", "d"],
    "train, sas": ["--train", "d", "--eval", "https://host/eval?sv=1&sig={}"],
    "train, user part": ["--train", "gs://me:{}@bucket/train", "--eval", "d"],
    "results": [*DATA, "--results-dir", "s3://AKIA:{}@bucket/results"],
    "image": [*DATA, "--image", "https://me:{}@registry/image:1"],
    "image, token": [*DATA, "--image", "registry/image?token={}"],
    "parent": [*DATA, "--parent", "nvapi-{}"],
    "checkpoint": [*DATA, "--checkpoint", "nvapi-{}"],
    "docker host": [*DATA, "--platform", "docker", "--option", "host=tcp://me:{}@host:2376"],
    "docker env": [*DATA, "--platform", "docker", "--option", "env=HF_TOKEN={}"],
    "docker env, quoted": [*DATA, "--platform", "docker", "--option", "env=MYSQL_PASSWORD='${}'"],
    "kubernetes env": [*DATA, "--platform", "kubernetes", "--option", "env=NGC_KEY={}"],
    "kubernetes secret": [*DATA, "--platform", "kubernetes", "--option", "secret={}"],
    "slurm": [*DATA, "--platform", "slurm", "--option", "account=token={}"],
    "unknown option": [*DATA, "--option", "password={}"],
    "search storage": [*DATA, "--automl", "storage=postgresql://me:{}@host/db"],
    "search endpoint": [*DATA, "--automl", "endpoint={{base_url: 'https://me:{}@host/v1', model: m}}"],
    "search key": [*DATA, "--automl", "endpoint={{api_key_variable: nvapi-{}, model: m, base_url: 'http://h/v1'}}"],
    "proxy": [*DATA, "--set", "custom.proxy=http://me:{}@proxy:3128"],
}
# Where a value of a secret variable may be copied to; nothing else tells that it is one.
OF_A_VARIABLE = {
    "variable in a dataset path": ["--train", "/data/{}/train", "--eval", "d"],
    "variable in an override": [*DATA, "--set", "custom.system_prompt=say {}"],
    "variable in the results": [*DATA, "--results-dir", "/results/{}"],
    "variable in the image": [*DATA, "--image", "registry/{}"],
    "variable in an option": [*DATA, "--option", "devices={}"],
}


class Screens:
    """Runs commands in this process and keeps all that they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def run(self, *words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        printed = self._capsys.readouterr()
        self.text += printed.out + printed.err
        return int(ended.value.code or 0), printed.out


@pytest.fixture
def screens(capsys: pytest.CaptureFixture[str]) -> Screens:
    return Screens(capsys)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the commands run."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def assert_nowhere(value: str, folders: list[Path], text: str, *, planted: frozenset[Path] = frozenset()) -> None:
    """Assert that no file but the planted ones, and no screen, holds a secret."""
    assert value not in text
    for folder in folders:
        for path in folder.rglob("*"):
            assert value not in path.name
            if path.is_file() and path not in planted:
                assert value.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("place", IN_A_REQUEST)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_secret_that_a_run_would_use_is_refused(place: str, flags: list[str], screens: Screens, work: Path) -> None:
    value = secret(place)
    words = [word.format(value) for word in IN_A_REQUEST[place]]
    code, _ = screens.run("plan", SKILL, "train", *words, "--out", "plan.json", *flags)
    assert code == 2
    assert_nowhere(value, [work, settings.state_dir()], screens.text)


@pytest.mark.parametrize("place", OF_A_VARIABLE)
def test_the_value_of_a_secret_variable_is_refused_by_its_name(
    place: str, screens: Screens, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = secret(place)
    monkeypatch.setenv("LAB_SERVICE_TOKEN", value)
    words = [word.format(value) for word in OF_A_VARIABLE[place]]
    code, _ = screens.run("run", SKILL, "train", *words)
    assert (code, "LAB_SERVICE_TOKEN" in screens.text) == (2, True)
    assert_nowhere(value, [work, settings.state_dir()], screens.text)


@pytest.mark.parametrize("scheme", ["s3", "gs", "postgresql"])
def test_a_refusal_names_the_way_by_environment(scheme: str, screens: Screens, work: Path) -> None:
    variable = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS", "postgresql": "PGPASSWORD"}[scheme]
    screens.run("plan", SKILL, "train", "--train", f"{scheme}://me:{secret(scheme)}@bucket/train", "--eval", "d")
    assert variable in screens.text


def test_a_secret_of_a_request_file_is_refused(screens: Screens, work: Path) -> None:
    value = secret("request file")
    request = work / "request.json"
    document = {"skill": SKILL, "action": "train", "datasets": {"train": f"s3://k:{value}@b/d", "eval": "d"}}
    request.write_text(json.dumps(document))
    assert screens.run("plan", "--request", request, "--json")[0] == 2
    assert_nowhere(value, [work, settings.state_dir()], screens.text, planted=frozenset({request}))


@pytest.mark.parametrize("content", ["skill: [token={}", "skill: &a hf_{}\naction: *b", '{{"token": "{}",'])
def test_an_unreadable_request_is_not_quoted(content: str, screens: Screens, work: Path) -> None:
    value = secret(content)
    request = work / "request.yaml"
    request.write_text(content.format(value))
    assert screens.run("plan", "--request", request)[0] == 2
    assert value not in screens.text


def test_the_words_of_a_prompt_are_masked_before_anything_is_planned() -> None:
    value = secret("prompt")
    request, (finding,) = gate.with_masked_prompt(
        Request(SKILL, "train", prompt=f"plain training, my key is nvapi-{value}")
    )
    assert request.prompt == "plain training, my key is [redacted]"
    assert finding.code == "prompt_masked"
    assert gate.with_masked_prompt(Request(SKILL, "train", prompt="plain training")) == (
        Request(SKILL, "train", prompt="plain training"),
        [],
    )


def test_a_finding_that_quotes_a_secret_is_masked_in_the_plan(tmp_path: Path) -> None:
    value = secret("adapter metadata")
    job = make_job(tmp_path)
    evidence = {"base_model_name_or_path": f"https://me:{value}@hub/base"}
    finding = Finding("adapter_base", "warning", f"The adapter names https://me:{value}@hub/base.", evidence=evidence)
    plan = planner.draft(job, Request(job.skill, job.action), Route("direct", job.skill, "asked for"), [finding])
    assert value not in json.dumps(to_json(plan))


def test_a_sealed_plan_with_a_secret_is_not_run(tmp_path: Path) -> None:
    plan = make_plan(make_job(tmp_path, config={"results_dir": str(tmp_path), "token": secret("plan")}))
    with pytest.raises(RequestError) as refused:
        gate.require_no_secret(plan)
    assert secret("plan") not in str(refused.value)


# What a run directory may hold when a job has failed; {} is the secret.
IN_A_RUN = {
    "log, bearer": "Authorization: Bearer {}",
    "log, exception": "RuntimeError: 401 for https://me:{}@host/v1",
    "log, environment": "HF_TOKEN={}",
    "log, json": '{{"level": "error", "api_key": "{}"}}',
    "log, login": "+ docker login nvcr.io -u '$oauthtoken' -p {}",
    "log, arguments": "['serve', '--token', '{}']",
    "log, block": "password: |\n  {}",
    "log, continued": "serve --api-key \\\n  {}",
    "log, private key": "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "log, signed URL": "GET https://b/k?X-Amz-Credential=a&X-Amz-Signature={}",
}
OF_A_RUN = (
    *("status message", "status cause", "status fix", "transition", "backend"),
    *("skipped", "not computed", "summary", "variable"),
)


@pytest.fixture
def failed(work: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, frozenset[Path]]:
    """Make the record and the run directory of a failed training full of secrets; return its id and those files."""
    monkeypatch.setenv("LAB_SERVICE_TOKEN", secret("variable"))
    folder = work / "run"
    make_training(folder, work / "data")
    job = make_job(folder)
    cause = f"401: token={secret('status cause')} and {secret('variable')}"
    fix = f"Call curl -u me:{secret('status fix')} https://host"
    message = f"RuntimeError: Bearer {secret('status message')}"
    write_lines(
        folder / "status.jsonl",
        [
            {"time": timestamp(), "state": "STARTED", "message": message},
            {"time": timestamp(), "state": "FAILURE", "message": message,
             "diagnosis": {"code": "internal_error", "cause": cause, "cure": fix}},
        ],
    )  # fmt: skip
    lines = [text.format(secret(place)) for place, text in IN_A_RUN.items()]
    run = RunDirectory(folder)
    run.log_file.parent.mkdir(parents=True, exist_ok=True)
    run.log_file.write_text("\n".join([*lines, f"Traceback: sent {secret('variable')}", ""]))
    write(folder / "skipped.json", [{"index": 0, "message": f"https://me:{secret('skipped')}@host/clip.mp4"}])
    finding = {"severity": "warning", "code": "x", "path": "x", "fix": "x", "message": f"password: {secret('summary')}"}
    not_computed = {"bleu": f"api_key={secret('not computed')}"}
    summary = {"metrics": {"accuracy": 0.5}, "not_computed": not_computed, "findings": [finding]}
    write(folder / "metrics_summary.json", summary)
    planted = frozenset(path for path in folder.rglob("*") if path.is_file())
    store = JobStore()
    store.create(make_record(job, backend_ref={"note": f"nvapi-{secret('backend')}"}))
    moved = Transition(timestamp(), State.ERROR, f"srun: token={secret('transition')}", "backend")
    store.transition(job.id, moved, err_class="ERR_PROGRAM")
    return job.id, planted


def test_no_screen_and_no_file_of_ours_shows_a_secret_of_a_failed_run(
    failed: tuple[str, frozenset[Path]], screens: Screens, work: Path
) -> None:
    job_id, planted = failed
    run = RunDirectory(work / "run")
    results.write(run, results.read(run))
    page = work / "page.html"
    for command in (
        *(["status", job_id], ["diagnose", job_id], ["logs", job_id], ["jobs"], ["watch", job_id]),
        *(["report", job_id, "--out", page], ["retry", job_id], ["cancel", job_id]),
    ):
        for flags in ([], ["--json"]):
            screens.run(*command, *flags)
    assert "This is a bug" not in screens.text
    assert "[redacted]" in screens.text
    assert "[redacted]" in (work / "page.html").read_text()
    for place in (*IN_A_RUN, *OF_A_RUN):
        assert_nowhere(secret(place), [work, settings.state_dir()], screens.text, planted=planted)


def test_json_stays_json_where_a_secret_was_masked(failed: tuple[str, frozenset[Path]], screens: Screens) -> None:
    for command in (["status", failed[0]], ["diagnose", failed[0]], ["logs", failed[0]], ["jobs"]):
        assert json.loads(screens.run(*command, "--json")[1])["ok"]


def test_a_record_says_redacted_only_where_something_was_masked(tmp_path: Path, work: Path) -> None:
    store = JobStore()
    plain, hiding = make_record(make_job(tmp_path / "a")), make_record(make_job(tmp_path / "b"))
    store.create(plain)
    store.create(hiding)
    store.transition(plain.id, Transition(timestamp(), State.RUNNING, "running on node 1", "backend"))
    store.transition(hiding.id, Transition(timestamp(), State.RUNNING, f"token={secret('x')}", "backend"))
    assert (store.read(plain.id).redacted, store.read(hiding.id).redacted) == (False, True)


class Receiver(BaseHTTPRequestHandler):
    bodies: list[bytes] = []  # noqa: RUF012 - one receiver per run of this file

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook-{secret('receiver')}"
        server.shutdown()
        thread.join()


def test_what_is_posted_and_the_address_are_masked(
    failed: tuple[str, frozenset[Path]], screens: Screens, work: Path, receiver: str
) -> None:
    Receiver.bodies.clear()
    screens.run("watch", failed[0], "--post", receiver)
    (body,) = Receiver.bodies
    assert secret("transition").encode() not in body
    assert_nowhere(secret("receiver"), [work, settings.state_dir()], screens.text)
    event = next(events.events([failed[0]]))
    assert secret("transition") not in repr(event)


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "status": lambda folder, value: StatusWriter(folder).write("RUNNING", f"token={value}"),
    "diagnosis": lambda folder, value: StatusWriter(folder).write(
        "FAILURE", "failed", diagnosis=Diagnosis("code", f"at https://me:{value}@host", f"export HF_TOKEN={value}")
    ),
}


@pytest.mark.parametrize("place", WRITERS)
def test_what_a_trainer_reports_is_masked(place: str, tmp_path: Path) -> None:
    WRITERS[place](tmp_path, secret(place))
    (line,) = (tmp_path / "status.jsonl").read_text().splitlines()
    assert (secret(place) in line, "[redacted]" in line) == (False, True)


TRAINER = """
import logging, sys, types
from dataclasses import dataclass
from datetime import timedelta
from tao_skill_bank.training import bad_samples, entrypoint

@dataclass
class Spec:
    results_dir: str = ""

def body(spec, run):
    value = open(sys.argv.pop()).read()
    print("printed token=" + value)
    logging.warning("logged Bearer %s", value)
    skips = bad_samples.SkipLog(types.SimpleNamespace(), 1, run.results_dir)
    skips.entries[0] = bad_samples.Skip(0, "unreadable", f"https://me:{value}@host/clip.mp4", "clip")
    skips.write(run.results_dir)
    raise ValueError(f"401 for api_key={value}")

given = sys.argv.pop()
sys.argv += ["--config", given.partition(",")[0]]
secret_file = given.partition(",")[2]
original, entrypoint.load_spec = entrypoint.load_spec, lambda kind, path: (sys.argv.append(secret_file), Spec())[1]
entrypoint.main(Spec, body, lambda spec: None)
"""


@pytest.mark.slow
def test_a_trainer_that_fails_with_a_secret_leaves_it_nowhere(tmp_path: Path) -> None:
    value = secret("trainer")
    (tmp_path / "given").mkdir()
    given = tmp_path / "given" / "secret"
    given.write_text(value)
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "train.log").open("wb") as log:
        command = [sys.executable, "-c", TRAINER, f"{folder / 'train.toml'},{given}"]
        subprocess.run(command, stdout=log, stderr=log, check=False, env={**os.environ, "MASTER_PORT": "0"})
    text = (folder / "train.log").read_text()
    assert "ValueError: 401 for api_key=[redacted]" in text
    assert "printed token=[redacted]" in text
    assert "logged Bearer [redacted]" in text
    assert {"status.jsonl", "train.log"} <= {path.name for path in folder.iterdir()}
    assert_nowhere(value, [folder], "")


def test_a_document_of_a_run_is_masked_where_it_is_written(tmp_path: Path) -> None:
    from tao_skill_bank.runs.run_directory import masked_json

    write_whole(
        tmp_path / "summary.json", masked_json({"reason": f"token={secret('document')}", "api_key": secret("key")})
    )
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "reason": "token=[redacted]",
        "api_key": "[redacted]",
    }
