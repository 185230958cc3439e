"""Hostile texts and documents: what a request, a record or a run file may hold by accident or intent."""

import json
import os
import signal
import time
from contextlib import contextmanager

from hypothesis import strategies as st

from tao_skill_bank.errors import TaoSkillsError

MAX_SECONDS = 2.0  # of CPU for one input
EXIT_CODES = (2, 3, 4, 5, 6, 7)
# What means something to a shell, a directive, YAML, a terminal, a file system or Python.
TEXTS = (
    "", " ", ".", "..", "/", "-", "--help", "~", "~nouser/x", "~/x", "null", "true", "0x" + "f" * 5000,
    "9" * 5000, "1e999", "a\nb", "a\r\nb", "a\0b", "\x1b[31m", "\x9b31m", "\u202e\u2066", "\ud800", "\udcff",
    "\ufeff", "\u2028", "\x85", "$(touch {canary})", "`touch {canary}`", "'; touch {canary}; '",
    '"; touch {canary}; "', "\n#SBATCH --wrap=touch\n", "a\ntouch {canary}\n", "| touch {canary}",
    "&& touch {canary}", "${IFS}", "%j", "{}", "{0}", "{job_id}", "%(x)s", "{{ x }}", "<script>alert(1)</script>",
    "a" * 300, "a/" * 3000, "../" * 200, "/dev/null", "/proc/self/mem", "*", "?", "[", "]",
    "!!python/object:os.system x", "&a [*a]", "[" * 2000, "{" * 2000, "- " * 500, "#", ":", "a: b: c", "<<: *a",
    "\t", "=", "a=b=c", "s3://b/k", "s3://", "hf_model://", "hf_model://a/b@c", "builtin://x",
    "builtin://../../x", "file:///etc/passwd", "http://[::1", "\N{PILE OF POO}" * 80, "\u0130", "ﬁ", "NaN",
    "Infinity", "<video>" * 50, "<answer>" * 50, "\\", "\\n", "'" * 99,
)  # fmt: skip
TEXT = (
    st.sampled_from(TEXTS) | st.text(max_size=30) | st.builds(str.__add__, st.sampled_from(TEXTS), st.text(max_size=5))
)
NUMBERS = st.sampled_from(
    (0, -1, 1, 2**31, 2**63, -(2**63), 10**22, 10**400, 0.5, -0.0, 1e308, 1e-320, float("inf"), float("nan"))
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


class HangError(BaseException):
    """An input took longer than MAX_SECONDS of CPU."""


@contextmanager
def guarded():
    """Fail for any exception but a typed one with an exit code and a fix, and for more than 2 s of CPU."""

    def interrupt(*_):
        raise HangError

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, 5 * MAX_SECONDS)
    start = time.process_time()
    try:
        yield
    except TaoSkillsError as error:
        _require_plain(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - start < MAX_SECONDS


def _require_plain(error):
    """Require of a typed error its exit code, and of each of its problems a message and a fix."""
    assert error.exit_code in EXIT_CODES, error
    assert all(problem.message and problem.fix for problem in error.problems), error.problems


@st.composite
def changed(draw, document, values=VALUES):
    """Return a document with one to three of its parts replaced, removed or added."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, document, values)
    return document


def _change(draw, document, values):
    node = document
    while isinstance(node, (dict, list)) and node:
        key = draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], (dict, list)) or not node[key] or draw(st.booleans()):
            break
        node = node[key]
    how = draw(st.sampled_from(("replace", "replace", "remove", "add")))
    if how == "replace" and node:
        node[key] = draw(values)
    elif how == "remove" and node:
        del node[key]
    elif isinstance(node, dict):
        node[draw(TEXT)] = draw(values)
    elif isinstance(node, list):
        node.append(draw(values))


@st.composite
def content(draw, document, values=VALUES):
    """Return the bytes of a JSON file: a changed, cut or damaged document, or anything at all; None for a folder."""
    kind = draw(st.sampled_from(("changed",) * 6 + ("value", "cut", "damaged", "bytes", "deep", "folder", "digits")))
    if kind in ("folder", "bytes", "deep", "digits"):
        deep = draw(st.sampled_from((b"[", b'{"a":', b'[{"a":'))) * draw(st.sampled_from((50, 101, 5000, 100_000)))
        digits = b'{"step": ' + b"9" * 5000 + b', "total": 1}'
        return {"folder": None, "bytes": draw(st.binary(max_size=200)), "deep": deep, "digits": digits}[kind]
    data = json.dumps(draw(values) if kind == "value" else draw(changed(document, values))).encode()
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if kind == "damaged" and data:
        at = draw(st.integers(0, len(data) - 1))
        return data[:at] + draw(st.binary(max_size=4)) + data[at + 1 :]
    return data


def put(path, data):
    """Write the bytes of `content` in the place of a file."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_bytes(data)


def inputs(share):
    """Return how many inputs a test gets: a share of TAO_FUZZ_INPUTS, or of a small sample that CI keeps."""
    return max(1, round(int(os.environ.get("TAO_FUZZ_INPUTS", "1200")) * share))
