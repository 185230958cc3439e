"""A PostgreSQL server of Debian's, started once and stopped at the end, and searches that draw nothing."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import lacking

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an empty database; its server runs as the user postgres where the tests run as root."""
    if not BINARIES:
        lacking("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path("/tmp") / f"tao-postgresql-{time.time_ns()}"  # readable by its user, and short: a socket lies in it
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    data = folder / "data"

    def run(*words: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*user, str(BINARIES[-1] / words[0]), *words[1:]], check=True, capture_output=True, cwd=folder)

    port = free_port()
    run("initdb", "-D", str(data), "-A", "trust", "-U", "tao")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql://tao@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def request_storage(request: pytest.FixtureRequest):
    """Return what a request says of its storage, by kind."""

    def options(kind: str) -> dict[str, str]:
        return {} if kind == "sqlite" else {"storage": request.getfixturevalue("postgresql")}

    return options


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let jobs of this test find neither matplotlib nor scikit-learn: at the end of a search they take seconds."""
    folder = tmp_path_factory.mktemp("lacking")
    for name in ("matplotlib", "sklearn"):
        (folder / f"{name}.py").write_text(f"raise ImportError('a test hides {name}')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
