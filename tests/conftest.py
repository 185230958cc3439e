"""Shared fixtures: every test has its own state directory and no credentials."""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
LONG_RUN_SECONDS = 60
SHOWN_FILES = 25
sys.path.insert(0, str(SUPPORT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores: more threads would only wait for them
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every child of a test compiles this package again


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make kill` choose how many kills tests/e2e/test_kills.py makes."""
    parser.addoption("--kills", type=int, default=0, help="kills over all stages; 0: a few cheap ones")
    parser.addoption("--first-kill", type=int, default=0, help="number of the first kill: others for a later run")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show where the time of a long run went: seconds of set-up, call and teardown by file."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if seconds.total() >= LONG_RUN_SECONDS:
        terminalreporter.section("seconds by file")
        for path, spent in seconds.most_common(SHOWN_FILES):
            terminalreporter.write_line(f"{spent:8.1f}  {path}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the workers of one run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    for name in ("inspect", "builtin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _isolated_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, shared: Path) -> None:
    """Keep a test away from the developer's own jobs, models, token and hub.

    Only model inspections are shared: they depend on nothing else, and each costs seconds.
    """
    state = tmp_path_factory.mktemp("machine") / "state"
    (state / "cache").mkdir(parents=True)
    (state / "cache" / "inspect").symlink_to(shared / "inspect")
    monkeypatch.setenv("TAO_STATE_DIR", str(state))
    from tao_skill_bank.core.settings import AGENT_VARIABLES

    names = ("HF_TOKEN", "TAO_DEVICE", "TAO_FORMAT", "TAO_SKILL_BANK_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    for name in (*names, *AGENT_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Leave no test the signal handlers of one before it: a trainer in this process ignores both at its end."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def project_root() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture
def state_dir() -> Path:
    """Return where this test keeps its records; it has none yet."""
    return Path(os.environ["TAO_STATE_DIR"])


@pytest.fixture
def fake_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs of this test start `fake_trainer` (tests/support) as their module."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def third_skill(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bank with one more skill, tao-finetune-toy: a schema and a quick trainer of another distribution."""
    import tao_skill_bank
    import tao_skill_bank.models

    source, bank = SUPPORT / "third_skill", tmp_path_factory.mktemp("bank")
    skills = Path(__file__).parent.parent / "skills"
    shutil.copytree(skills, bank / "skills")
    folder = bank / "skills" / "tao-finetune-toy"
    (folder / "references").mkdir(parents=True)
    (folder / "schemas").mkdir()
    shutil.copy(source / "SKILL.md", folder)
    shutil.copy(source / "skill_info.yaml", folder / "references")
    for package, part in ((tao_skill_bank, "tao_skill_bank"), (tao_skill_bank.models, "tao_skill_bank/models")):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(source / part)])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(bank))
    from tao_skill_bank.bank import catalog, schema
    from tao_skill_bank.core import yaml12

    document = schema.action_schema(catalog.find("toy").spec_class("train"), "tao-finetune-toy", "train")
    (folder / "schemas" / "train.schema.json").write_text(json.dumps(document))
    (folder / "references" / "spec_template_train.yaml").write_text(yaml12.render(schema.template(document)))
    return bank


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch):
    """Serve an S3 bucket, `lab`, on loopback; the environment points to it."""
    import object_store

    with object_store.serving(monkeypatch) as running:
        yield running
