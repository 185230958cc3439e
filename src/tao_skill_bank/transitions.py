"""Every change of state of jobs, as it comes, and where to tell it."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank import jobs
from tao_skill_bank.contracts import JobRecord, State, contract, to_json
from tao_skill_bank.errors import BackendError, RequestError
from tao_skill_bank.job_store import JobStore
from tao_skill_bank.redact import masker

POLL_SECONDS = 2.0
POST_SECONDS = 10.0  # longest wait for a receiver
ATTEMPTS = 5  # of a post that a receiver did not take now
FIRST_PAUSE_SECONDS = 0.5  # between two attempts; each pause is twice the last one
TRY_AGAIN = (408, 425, 429)  # besides every 5xx


@contract
class Event:
    """One change of a job's state.

    Attributes:
        id: `JOB/NUMBER` of the transition, counted from 1: a receiver that gets one twice can tell.
        text: the change in one line, where chat services look for it.

    """

    id: str
    job_id: str
    skill: str
    action: str
    platform: str
    previous: State | None
    state: State
    message: str
    ts: str
    results_dir: str
    retry_of: str | None
    text: str


def events(job_ids: Sequence[str], *, poll_seconds: float = POLL_SECONDS) -> Iterator[Event]:
    """Yield the state of each job now, then every change until all of them have ended.

    Raises:
        UnknownNameError: one of the jobs does not exist; nothing was yielded.

    """
    store = JobStore()
    records = [store.read(job_id) for job_id in dict.fromkeys(job_ids)]
    told: dict[str, int] = {}  # transitions of a job that were looked at
    while records:
        with ThreadPoolExecutor(jobs.ASKED_AT_ONCE) as pool:
            list(pool.map(jobs.refresh_if_reachable, records))
        records = [store.read(record.id) for record in records]
        for record in records:
            yield from _changes(record, told.get(record.id))
            told[record.id] = len(record.transitions)
        records = [record for record in records if record.terminal_state is None]
        if records:
            time.sleep(poll_seconds)


def _changes(record: JobRecord, since: int | None) -> Iterator[Event]:
    """Yield what changed since a transition; without one, the last change only."""
    states = [moved.state for moved in record.transitions]
    changes = [number for number, state in enumerate(states) if number == 0 or state is not states[number - 1]]
    for number in changes[-1:] if since is None else [each for each in changes if each >= since]:
        yield _event(record, number)


@dataclass
class Webhook:
    """Posts events as JSON. What a receiver does not take now is kept and sent before the next one, in order.

    Attributes:
        url: http or https; it may hold a credential, so no message repeats it.
        waiting: events that were not taken yet.

    """

    url: str
    waiting: list[Event] = field(default_factory=list)
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message, fix = "The address to post to is no http or https URL.", "Write it as https://HOST/PATH."
            raise RequestError.of("invalid_post_url", message, fix, path="--post")

    @property
    def host(self) -> str:
        return str(urllib.parse.urlsplit(self.url).hostname)

    def post(self, event: Event) -> None:
        """Send an event and what waits before it.

        Raises:
            BackendError: the receiver refuses it, or did not take it after several attempts; it waits.

        """
        self.waiting.append(event)
        while self.waiting:
            self._send(self.waiting[0])
            self.waiting.pop(0)

    def _send(self, event: Event) -> None:
        body = json.dumps(to_json(event)).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        for attempt in range(ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=POST_SECONDS):
                    return
            except urllib.error.HTTPError as error:
                why = f"answered {error.code} {error.reason}"
                if error.code < 500 and error.code not in TRY_AGAIN:
                    fix = "Correct the address, or what it accepts; the job goes on."
                    raise BackendError.of("post_refused", f"{self.host} {why}.", fix, path="--post") from None
            except (OSError, ValueError) as error:
                why = f"cannot be reached: {getattr(error, 'reason', error)}"
            if attempt + 1 < ATTEMPTS:
                self.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        message = f"{self.host} {why}; {len(self.waiting)} transitions wait."
        raise BackendError.of("post_failed", message, "Watch again when it answers; the job goes on.", path="--post")


def _event(record: JobRecord, number: int) -> Event:
    moved = record.transitions[number]
    previous = record.transitions[number - 1].state if number else None
    message = masker()(moved.message)
    came = f"{previous} -> {moved.state}" if previous not in (None, moved.state) else str(moved.state)
    values: dict[str, Any] = {name: getattr(record, name) for name in ("skill", "action", "platform", "results_dir")}
    return Event(
        id=f"{record.id}/{number + 1}",
        job_id=record.id,
        previous=previous,
        state=moved.state,
        message=message,
        ts=moved.ts,
        retry_of=record.retry_of,
        text=f"{record.id}  {came}  {message}".rstrip(),
        **values,
    )
