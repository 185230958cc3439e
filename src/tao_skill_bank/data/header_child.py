"""Reads headers for another process: `python -m tao_skill_bank.data.header_child < FILES`.

Each line of stdin is a JSON list [kind, path]. After the line "ready" one line is printed per file: the fields of
`Header` as a JSON list, or {"problem"}.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from tao_skill_bank.data.media.header import read_header
from tao_skill_bank.data.media.refusals import reason_of, refused
from tao_skill_bank.errors import BlockedError

READY = b"ready"


def answer(line: str) -> str:
    """Return the header of the file that a line names, or the problem, as JSON."""
    kind, path = json.loads(line)
    try:
        return json.dumps(astuple(read_header(Path(path), kind)))
    except BlockedError as error:
        return json.dumps({"problem": error.problems[0].to_json()})
    except (MemoryError, OSError) as error:
        return json.dumps({"problem": refused(Path(path), reason_of(error)).problems[0].to_json()})


def main(lines: Iterable[str]) -> None:
    """Answer every line as soon as it is read."""
    import av  # noqa: F401 - loaded before the first file's time begins

    out = sys.stdout.fileno()
    os.write(out, READY + b"\n")
    for line in lines:
        os.write(out, f"{answer(line)}\n".encode())


if __name__ == "__main__":
    main(sys.stdin)
