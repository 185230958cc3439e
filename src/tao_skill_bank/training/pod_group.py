"""The pods of one job synchronize through their run directory: they start together and end when one of them is lost.

Each pod writes a file with its `uid` and touches it as a heartbeat. Pod 0 starts an attempt once every pod is there
with a uid that no earlier attempt had: a restarted pod has another uid. So the pods of an attempt read the same config,
and none connects to a pod of an earlier one.
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
LOST_SECONDS = 120.0  # without a heartbeat; a shared file system may show the last one late
WAIT_SECONDS = 60.0  # after a peer failed: a collective may wait for it for a long time


@dataclass(frozen=True)
class Attempt:
    """One start of all pods.

    Attributes:
        number: 1 for the first.
        address: of pod 0.
        uids: of all pods, by index.
        resumes: there is a checkpoint to resume from.

    """

    number: int
    address: str
    uids: tuple[str, ...]
    resumes: bool


@dataclass
class _Heartbeat:
    """The newest heartbeat of a peer, and when it was seen first, by this pod's clock."""

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
    _heartbeats: dict[int, _Heartbeat] = field(default_factory=dict)

    def join(self) -> None:
        """Announce this pod."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(None)

    def live(self) -> None:
        """Touch this pod's heartbeat."""
        os.utime(self._file(self.index))

    def end(self, exit_code: int) -> None:
        """Record that this pod has ended."""
        self._write(exit_code)

    def meet(self, has_checkpoints: Callable[[], bool], is_stopped: Callable[[], bool]) -> Attempt | None:
        """Return the attempt that this pod belongs to, once every pod is there; None when it is stopped first."""
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
        """Return how a peer was lost, without which this attempt cannot continue; None while none is lost."""
        now = time.monotonic()
        for index in range(self.nodes):
            if index == self.index:
                continue
            member, touched = self._member(index)
            if member is not None and member["uid"] != attempt.uids[index]:
                return f"Pod {index} was restarted."
            ended = None if member is None else member["ended"]
            value = touched if ended is None else f"ended with {ended}"
            if (beat := self._heartbeats.get(index)) is None or beat.value != value:
                self._heartbeats[index] = _Heartbeat(value, now)
                continue
            if ended is None and now - beat.seen_at > LOST_SECONDS:
                return f"Pod {index} sent no heartbeat for {LOST_SECONDS:.0f} s."
            if ended and now - beat.seen_at > WAIT_SECONDS:
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
        """Return the record of a pod, and when it was last touched."""
        try:
            with self._file(index).open("rb") as file:  # opening a file makes NFS ask the server
                return json.loads(file.read()), os.fstat(file.fileno()).st_mtime_ns
        except (OSError, ValueError):
            return None, 0

    def _write(self, exit_code: int | None) -> None:
        write_whole(self._file(self.index), json.dumps({"uid": self.uid, "ended": exit_code}))

    def _file(self, index: int) -> Path:
        return self.folder / f"{index}.json"
