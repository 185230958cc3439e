"""The pods of one job meet through their run directory: they start together, and none goes on without another.

Each pod keeps a file with its own name of this life (`uid`) and touches it while it lives. Pod 0 starts an attempt
once every pod is there that was in no attempt before: a pod that is started again has another uid. So the pods of an
attempt read the same config, and none talks to what is left of an earlier one.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.runs.run_directory import read_json_file, write_whole

POLL_SECONDS = 0.5
LOST_SECONDS = 120.0  # without a sign of life; a shared file system may show the last one late
WAIT_SECONDS = 60.0  # for what a failed peer leaves unfinished: a collective may wait for it for long


@dataclass(frozen=True)
class Attempt:
    """One start of all pods.

    Attributes:
        number: 1 for the first.
        address: of pod 0.
        uids: of all pods, by index.
        resumes: there is something to go on from.

    """

    number: int
    address: str
    uids: tuple[str, ...]
    resumes: bool


@dataclass
class _Sign:
    """The newest sign of life of a peer, and when it was seen first, by this pod's clock."""

    value: Any
    seen_at: float


@dataclass
class PodGroup:
    """One pod's view of its job's pods; `folder` lies in the run directory, which all of them share."""

    folder: Path
    index: int
    nodes: int
    uid: str
    address: str
    _signs: dict[int, _Sign] = field(default_factory=dict)

    def join(self) -> None:
        """Say that this pod is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(None)

    def live(self) -> None:
        """Give a sign of life."""
        os.utime(self._file(self.index))

    def end(self, exit_code: int) -> None:
        """Say that this pod has ended."""
        self._write(exit_code)

    def meet(self, has_checkpoints: Callable[[], bool], is_stopped: Callable[[], bool]) -> Attempt | None:
        """Return the attempt that this pod belongs to, once every pod is there; None when it is stopped before."""
        while not is_stopped():
            self.live()
            attempt = self._attempt()
            if attempt is not None and attempt.uids[self.index : self.index + 1] == (self.uid,):
                return attempt
            if self.index == 0:
                self._start(attempt, has_checkpoints)
            else:
                time.sleep(POLL_SECONDS)
        return None

    def lost(self, attempt: Attempt) -> str | None:
        """Return what happened to a peer without which this attempt cannot go on; None while all is well."""
        now = time.monotonic()
        for index in range(self.nodes):
            if index == self.index:
                continue
            member, touched = self._member(index)
            if member is not None and member["uid"] != attempt.uids[index]:
                return f"Pod {index} was started again."
            ended = None if member is None else member["ended"]
            value = touched if ended is None else f"ended with {ended}"
            if (sign := self._signs.get(index)) is None or sign.value != value:
                self._signs[index] = _Sign(value, now)
                continue
            if ended is None and now - sign.seen_at > LOST_SECONDS:
                return f"Pod {index} gave no sign of life for {LOST_SECONDS:.0f} s."
            if ended and now - sign.seen_at > WAIT_SECONDS:
                return f"Pod {index} {value}."
        return None

    def _start(self, last: Attempt | None, has_checkpoints: Callable[[], bool]) -> None:
        """Start the next attempt when every pod is there and new."""
        members = [self._member(index)[0] for index in range(self.nodes)]
        uids = [None if member is None or member["ended"] is not None else member["uid"] for member in members]
        before = () if last is None else last.uids
        if any(uid is None or uid in before for uid in uids):
            time.sleep(POLL_SECONDS)
            return
        number = 1 if last is None else last.number + 1
        document = {
            "number": number,
            "address": self.address,
            "uids": uids,
            "resumes": number > 1 and has_checkpoints(),
        }
        write_whole(self.folder / "attempt.json", json.dumps(document))

    def _attempt(self) -> Attempt | None:
        found = read_json_file(self.folder / "attempt.json")
        return None if found is None else Attempt(**{**found, "uids": tuple(found["uids"])})

    def _member(self, index: int) -> tuple[dict[str, Any] | None, int]:
        """Return what a pod says of itself, and when it was touched last."""
        try:
            with self._file(index).open("rb") as file:  # opened anew: NFS looks at the server then
                return json.loads(file.read()), os.fstat(file.fileno()).st_mtime_ns
        except (OSError, ValueError):
            return None, 0

    def _write(self, exit_code: int | None) -> None:
        write_whole(self._file(self.index), json.dumps({"uid": self.uid, "ended": exit_code}))

    def _file(self, index: int) -> Path:
        return self.folder / f"{index}.json"
