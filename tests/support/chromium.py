"""Headless Chromium, driven through its debugging pipe: pages are opened, keys pressed, and what is shown is read."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

from needs import lacking

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "about:blank")
DEADLINE_SECONDS = 60
NAMED = {"Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " ")}


@contextmanager
def browsing(folder):
    """Yield a page of a new browser, whose profile is kept in a folder."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        lacking("no Chromium on this machine")
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]

    def place():
        for number, end in enumerate(ends, start=3):
            os.dup2(end, number)

    command = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    with subprocess.Popen(command, preexec_fn=place, pass_fds=(3, 4), stderr=subprocess.DEVNULL) as process:  # noqa: PLW1509
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        try:
            yield Page(os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb"))
        finally:
            process.terminate()


class Page:
    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        self.number, self.session, self.console = 0, None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.writing.write(json.dumps(message).encode() + b"\0")
        self.writing.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _read(self):
        data = b""
        while (byte := self.reading.read(1)) != b"\0":
            assert byte, "the browser ended"
            data += byte
        message = json.loads(data)
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.console.append(message["params"])
        return message

    def open(self, address):
        self.send("Page.navigate", url=address)

    def press(self, key):
        """Press a key as a person does."""
        code, text = NAMED.get(key, (ord(key[0].upper()), key))
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text):
        self.send("Input.insertText", text=text)

    def value(self, expression):
        """Return the value of an expression in the page, None while there is none."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
        return result.get("value")

    def wait(self, expression):
        """Wait until an expression in the page is true; a page that is being replaced is asked again."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not self.value(f"document.readyState == 'complete' && Boolean({expression})"):
            assert time.monotonic() < end, (expression, self.value("document.body && document.body.innerText"))
