"""The pages in a real browser."""

import shutil
import subprocess

import pytest
from needs import lacking

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--enable-logging=stderr"]
FLAGS += [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
]


@pytest.fixture
def shown(pages, tmp_path):
    """Open a page in a browser that has entered the token; returns its document and what its console says."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        lacking("no Chromium on this machine")

    def show(path):
        address = f"http://127.0.0.1:{pages.port}{path}?token={pages.token}"
        command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return ended.stdout, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]

    return show


@pytest.mark.slow
def test_every_page_opens_without_a_word_on_the_console(shown, recorded):
    job = recorded("evaluate")
    for path, expected in {
        "/": job,
        f"/jobs/{job}": "Log",
        f"/jobs/{job}/clips": "✗",
        f"/jobs/{job}/report": "Confusion matrix",
        f"/jobs/{recorded('train')}": "<svg",
    }.items():
        document, console = shown(path)
        assert expected in document
        assert console == []
