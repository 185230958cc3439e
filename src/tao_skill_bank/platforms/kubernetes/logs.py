"""The log of a job's pod 0 through the API server, over all its restarts, then the end of another failed pod's."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tao_skill_bank.core import numbers
from tao_skill_bank.errors import BlockedError, TaoSkillsError
from tao_skill_bank.platforms.kubernetes import refusals
from tao_skill_bank.platforms.kubernetes.client import Cluster, NotFoundError
from tao_skill_bank.platforms.kubernetes.pods import RETRIED, STATUS_MARK, Pod, View
from tao_skill_bank.runs import run_directory
from tao_skill_bank.runs.run_directory import RunDirectory

POLL_SECONDS = 1.0
NUM_LINES = 50  # of another pod that failed


def lines(
    cluster: Cluster, container: str, look: Callable[[], View | None], is_over: Callable[[], bool], *, follow: bool
) -> Iterator[str]:
    """Yield what pod 0 printed; with `follow`, until the job is over."""
    done: set[str] = set()
    while True:
        was_over = not follow or is_over()  # asked before the query that must see the last pod
        view = look()
        pods = sorted(view.pods, key=lambda pod: pod.created) if view is not None else []
        for pod in pods:
            if pod.index == 0 and pod.name not in done and pod.phase != "Pending":
                done.add(pod.name)
                yield from _of_pod(cluster, container, pod.name, look, follow=follow)
        if was_over:
            break
        time.sleep(POLL_SECONDS)
    if view is not None and (culprit := view.culprit) is not None and culprit.index != 0:
        yield f"--- the end of pod {culprit.name}, which failed:"
        yield from _end_of(cluster, container, culprit.name)


def _end_of(cluster: Cluster, container: str, name: str) -> Iterator[str]:
    """Yield the end of a pod's log, or why there is none to read."""
    try:
        yield from _plain(cluster.log(name, container, tailLines=str(NUM_LINES)))
    except NotFoundError:
        yield f"--- pod {name} is gone, and its log with it"
    except TaoSkillsError as error:
        yield f"--- the log of pod {name} cannot be read: {error.problems[0].message} Fix: {error.problems[0].fix}"


def other_failures(run: RunDirectory) -> Iterator[str]:
    """Yield the end of the logs of nodes other than the first that failed by themselves, from the run directory."""
    plan = run.plan_document()
    per_node = numbers.count(plan.get("job", {}).get("resources", {}).get("processes_per_node")) or 1
    records = [run_directory.read_object(path) for path in sorted((run.path / "exit").glob("rank_*.json"))]
    failed = {
        number // per_node
        for rank in records
        if rank.get("exit_code", 0) not in RETRIED and (number := numbers.count(rank.get("rank"))) is not None
    }
    for node in sorted(failed - {0}):
        path = run.path / "logs" / f"node_{node}.log"
        if path.is_file():
            yield f"--- the end of {Path('logs', path.name)}, of a node that failed:"
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from (line.rstrip("\n") for line in deque(file, NUM_LINES))


def _of_pod(
    cluster: Cluster, container: str, name: str, look: Callable[[], View | None], *, follow: bool
) -> Iterator[str]:
    """Yield a pod's log; a broken connection is made again, and no line is repeated."""
    second, newest = "", Counter[str]()  # the lines of the last second: from there the log is asked for again
    while True:
        query = {"timestamps": "true", **({"follow": "true"} if follow else {})}
        if second:
            query["sinceTime"] = f"{second}Z"
        again = newest.copy()
        is_running = follow and _is_running(look, name)  # asked before the read that must see the last line
        try:
            for stamped in cluster.log(name, container, **query):
                if again[stamped] > 0:
                    again[stamped] -= 1
                    continue
                stamp, _, line = stamped.partition(" ")
                if stamp[:19] != second:
                    second, newest = stamp[:19], Counter[str]()
                newest[stamped] += 1
                if not line.startswith(STATUS_MARK):
                    yield line
        except NotFoundError:  # gone with its node
            pass
        except BlockedError as error:
            _require_no_log_yet(error, name)
        if not is_running:
            return
        time.sleep(POLL_SECONDS)


def _require_no_log_yet(error: BlockedError, name: str) -> None:
    """Raise BlockedError where a log is refused for another reason than that its container is not there."""
    if not refusals.is_no_log_yet(error):
        said = f"The log of pod {name} cannot be read."
        problems = [replace(each, code="log_not_readable", message=f"{said} {each.message}") for each in error.problems]
        raise BlockedError(problems) from None


def _is_running(look: Callable[[], View | None], name: str) -> bool:
    view = look()
    found: Pod | None = next((pod for pod in (view.pods if view else ()) if pod.name == name), None)
    return found is not None and not found.is_over


def _plain(found: Iterator[str]) -> Iterator[str]:
    return (line for line in found if not line.startswith(STATUS_MARK))
