"""Job state changes as they happen, and a webhook to post them to."""

import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tao_skill_bank.contracts import JobRecord, State, contract, to_json
from tao_skill_bank.core.redact import Masker, masked
from tao_skill_bank.errors import Problem, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.outbox import MAX_EVENTS, Outbox
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs.run_directory import timestamp

POLL_SECONDS = 2.0
POST_SECONDS = 5.0  # longest wait for a receiver
ATTEMPTS = 4  # of a post that a receiver did not take now
FIRST_PAUSE_SECONDS = 0.5  # between two attempts; each pause is twice the last one
LONGEST_PAUSE_SECONDS = 30.0  # that a receiver may ask for: nothing else is watched meanwhile
TRY_AGAIN = (408, 425, 429)  # besides every 5xx


@contract
class Event:
    """One change of a job's state.

    Attributes:
        id: `JOB/NUMBER` of the transition, counted from 1: lets a receiver detect duplicates.
        text: the change in one line; the field that chat services display.

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


def events(
    job_ids: Sequence[str], *, poll_seconds: float = POLL_SECONDS, timeout_seconds: float | None = None
) -> Iterator[Event]:
    """Yield the state of each job now, then every change until all of them have ended, or to the timeout.

    Raises:
        UnknownNameError: jobs do not exist (all are listed); nothing was yielded.

    """
    deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    records, broken = _records(JobStore(), job_ids)
    yield from map(_unreadable, broken)
    seen: dict[str, int] = {}  # number of transitions seen, by job
    while records:
        with ThreadPoolExecutor(service.ASKED_AT_ONCE) as pool:
            observed = list(pool.map(service.observed, records))
        records, broken = [record for record, _ in observed], [problem for _, problem in observed if problem]
        for record in records:
            yield from _changes(record, seen.get(record.id))
            seen[record.id] = len(record.transitions)
        yield from map(_unreadable, broken)  # and watch the others
        given_up = {problem.path for problem in broken}
        records = [record for record in records if record.terminal_state is None and record.id not in given_up]
        left = deadline - time.monotonic()
        if left <= 0:
            return
        if records:
            time.sleep(min(poll_seconds, left))


def _records(store: JobStore, job_ids: Sequence[str]) -> tuple[list[JobRecord], list[Problem]]:
    """Return the records of jobs, and the problems of those that exist and cannot be read."""
    records: list[JobRecord] = []
    unknown, broken = list[Problem](), list[Problem]()
    for job_id in dict.fromkeys(job_ids):
        try:
            records.append(store.read(job_id))
        except UnknownNameError as error:
            unknown += error.problems
        except TaoSkillsError as error:
            broken += error.problems
    if unknown:
        raise UnknownNameError(unknown)
    return records, broken


def _unreadable(problem: Problem) -> Event:
    """Return the last event of a job that cannot be read or queried: it is not watched any longer."""
    job_id, nothing = problem.path, dict.fromkeys(("skill", "action", "platform", "results_dir"), "")
    text = f"{job_id}  {State.UNKNOWN}  {problem.message}"
    return Event(
        id=f"{job_id}/unreadable",
        job_id=job_id,
        previous=None,
        state=State.UNKNOWN,
        message=problem.message,
        ts=timestamp(),
        retry_of=None,
        text=text,
        **nothing,
    )


def _changes(record: JobRecord, since: int | None) -> Iterator[Event]:
    """Yield the changes since a transition; without one, only the last change."""
    states = [moved.state for moved in record.transitions]
    changes = [number for number, state in enumerate(states) if number == 0 or state is not states[number - 1]]
    for number in changes[-1:] if since is None else [each for each in changes if each >= since]:
        yield _event(record, number)


@dataclass
class Webhook:
    """Posts events as JSON, in order. What was not delivered is kept in the state folder and sent before the next one.

    Attributes:
        url: http or https; it may hold a credential, so no message repeats it.
        problem: why the newest event was not delivered; None when it was.
        outbox: what waits for this URL, also of an earlier process.
        delivered: ids of the events that this process has delivered, which it posts once.

    Raises:
        RequestError: the URL is invalid.

    """

    url: str
    problem: Problem | None = None
    sleep: Callable[[float], None] = time.sleep
    outbox: Outbox = field(init=False)
    delivered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # an invalid port
            is_address = False
        if not is_address or parts.username is not None:
            message = "The URL to post to is not an http or https URL" + (" without a user." if is_address else ".")
            fix = "Write it as https://HOST/PATH."
            raise RequestError.of("invalid_post_url", message, fix, path="--post")
        self.outbox = Outbox(self.url)

    @property
    def host(self) -> str:
        return str(urllib.parse.urlsplit(self.url).hostname)

    def offer(self, *events: Event) -> Problem | None:
        """Send what waits and then these events; return the problem, None when all were delivered.

        Without events, what an earlier process could not deliver is sent. An event that the receiver rejects
        permanently is dropped, so that it does not block later events.
        """
        self.problem = None
        new = [to_json(event) for event in events if event.id not in self.delivered]
        with self.outbox.opened(new) as waiting:
            while waiting and self.problem is None:
                self.problem = self._send(waiting[0])
                if self.problem is None or self.problem.code == "post_refused":
                    self.delivered.add(waiting.pop(0)["id"])
        return self.problem

    def _send(self, event: dict[str, Any]) -> Problem | None:
        body = json.dumps(masked(event)).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(_NoRedirect)
        for attempt in range(ATTEMPTS):
            pause_seconds = FIRST_PAUSE_SECONDS * 2**attempt
            try:
                with opener.open(request, timeout=POST_SECONDS):
                    return None
            except urllib.error.HTTPError as error:
                why = f"answered {error.code} {error.reason}".strip()
                if error.code < 500 and error.code not in TRY_AGAIN:
                    return Problem("post_refused", f"{self.host} {why}.", "Correct the address.", "--post")
                pause_seconds = max(pause_seconds, _asked_pause_seconds(error))
            except (OSError, ValueError) as error:
                why = f"cannot be reached: {getattr(error, 'reason', error)}"
            if attempt + 1 < ATTEMPTS:
                self.sleep(pause_seconds)
        return Problem("post_failed", f"{self.host} {why}. {self._waiting()}", self._fix(), "--post")

    def _waiting(self) -> str:
        """Return how many events wait, and which are lost."""
        box = self.outbox
        said = f"Waiting: {len(box.events)}."
        if box.num_dropped:
            said += f" At most {MAX_EVENTS} are kept: {box.num_dropped} older ones were dropped."
        if box.why_not_kept:
            said += (
                f" They cannot be kept in {box.path.parent} ({box.why_not_kept}), and are lost when this command ends."
            )
        return said

    def _fix(self) -> str:
        if self.outbox.why_not_kept:
            return "See that it answers; what waits is sent with the next change, while this command runs."
        return "See that it answers; what waits is kept, and sent first by the next watch that posts there."


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: events go only to the given URL."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _asked_pause_seconds(answer: urllib.error.HTTPError) -> float:
    """Return how long a receiver asks to be left alone, within bounds; 0 where it does not say so in seconds."""
    said = str(answer.headers.get("Retry-After", ""))
    return min(float(said), LONGEST_PAUSE_SECONDS) if re.fullmatch(r"\d+(\.\d+)?", said) else 0.0


def _event(record: JobRecord, number: int) -> Event:
    moved = record.transitions[number]
    previous = record.transitions[number - 1].state if number else None
    message = Masker()(moved.message)
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
