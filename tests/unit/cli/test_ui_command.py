import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tao_skill_bank.cli.main import main

pytest.importorskip("uvicorn")

COMMAND = [sys.executable, "-m", "tao_skill_bank", "ui"]


@contextmanager
def running(*words):
    """Run the command until the block ends, and see that Ctrl-C ends it quietly."""
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode in (0, 130)


def whole(lines):
    """Return a JSON document from the start of a stream that goes on."""
    text = ""
    while not text.endswith("\n}\n"):
        text += next(lines)
    return json.loads(text)


@pytest.mark.slow
def test_the_printed_address_opens_the_pages_until_the_command_is_interrupted():
    with running("--json") as output:
        url = whole(output)["url"]
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert "There are no jobs yet" in opener.open(url, timeout=60).read().decode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url.partition("?")[0], timeout=60)


@pytest.mark.slow
def test_people_are_shown_the_address_with_its_token():
    with running("--format", "human") as output:
        assert re.fullmatch(r"Open http://127\.0\.0\.1:\d+/\?token=[\w-]{32}\n", next(output))


def test_a_port_that_is_taken_is_an_error_with_a_fix(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as ended:
        main(["ui", "--port", str(taken.getsockname()[1]), "--json"])
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (ended.value.code, error["code"]) == (3, "port_not_usable")
    assert "--port 0" in error["fix"]
