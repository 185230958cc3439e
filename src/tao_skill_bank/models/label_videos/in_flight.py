"""Runs a function for many items in threads, a few at a time, and hands its outcomes on as they come."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Outcome(NamedTuple, Generic[Item, Result]):
    """What became of an item: its result, or the error."""

    item: Item
    result: Result | None
    error: BaseException | None


def run(function: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> Iterator[Outcome[Item, Result]]:
    """Yield the outcome of every item, in any order. A caller that stops early leaves nothing to wait for.

    The threads are daemons: a process that is ended does not wait for pending replies.
    """
    todo: SimpleQueue[Item | None] = SimpleQueue()
    done: SimpleQueue[Outcome[Item, Result]] = SimpleQueue()
    left, num_in_flight = iter(items), 0
    threads = [threading.Thread(target=_work, args=(function, todo, done), daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        while True:
            for item in itertools.islice(left, at_once - num_in_flight):
                todo.put(item)
                num_in_flight += 1
            if not num_in_flight:
                return
            outcome = done.get()
            num_in_flight -= 1
            yield outcome
    finally:
        for _ in threads:
            todo.put(None)


def _work(
    function: Callable[[Item], Result],
    todo: "SimpleQueue[Item | None]",
    done: "SimpleQueue[Outcome[Item, Result]]",
) -> None:
    while (item := todo.get()) is not None:
        try:
            done.put(Outcome(item, function(item), None))
        except BaseException as error:  # noqa: BLE001 - handed on to the thread that consumes
            done.put(Outcome(item, None, error))
