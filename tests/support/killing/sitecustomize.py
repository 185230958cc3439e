"""Kills a process of a test's group at its n-th event; Python imports this by name where it is on the path.

An event is what a Python process of the group is about to do below the folder of the test (a file that is
opened, a rename, a removal, a new folder, a link), or a process that it is about to start; with `within`, only what
happens to paths of that pattern. The events of all processes are counted together in `events`. At the one whose number
is in `order.json`, the process that makes it signals one process of the group, chosen by `pick` among those whose
command line has the pattern `victim`: itself, the shell, the launcher, a rank, the command line. Where there is none
yet, a later event does so. With `after`, events count from when this path below the folder exists.
"""
# ruff: noqa: PTH100, PTH107, PTH110, PTH118, PTH120, PTH123, PTH208
# Every Python process of a test imports this, so it imports little and makes no events of its own.

import json
import os
import re
import sys

FOLDER = os.environ.get("TAO_KILLS", "")
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink", "os.rmdir"}
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork"}


def members():
    """Return the processes of the group, oldest first, with their command lines."""
    mark, found = f"TAO_KILLS={FOLDER}\0".encode(), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark not in file.read():
                    continue
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, IndexError):
            continue
        if fields[0] not in "ZX":
            found.append((int(fields[19]), int(name), words))
    return [(pid, words) for _, pid, words in sorted(found)]


def count():
    descriptor = os.open(os.path.join(FOLDER, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def is_event(event, arguments, within):
    if event in STARTS:
        return not within.pattern
    return (event == "open" or event in CHANGES) and is_inside(arguments, within)


def is_inside(arguments, within):
    world = os.path.dirname(FOLDER)
    if not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return False
    path = os.path.abspath(os.fsdecode(arguments[0]))
    return path.startswith(world + os.sep) and bool(within.search(path[len(world) :]))


def kill(order):
    found = [(pid, words) for pid, words in members() if re.search(order["victim"], words)]
    if not found:
        return
    pid, words = found[order["pick"] % len(found)]
    record = os.path.join(FOLDER, "killed.json")
    try:
        with open(record, "x", encoding="utf-8") as file:
            json.dump({"pid": pid, "words": words, "by": os.getpid(), "members": len(found)}, file)
        os.kill(pid, order["number"])
    except FileExistsError:
        return
    except ProcessLookupError:  # it has just ended: the next event chooses again
        os.remove(record)


def watch():
    with open(os.path.join(FOLDER, "order.json"), encoding="utf-8") as file:
        order = json.load(file)
    killed = os.path.join(FOLDER, "killed.json")
    after = os.path.join(os.path.dirname(FOLDER), order["after"])
    within, due, busy = re.compile(order["within"]), order["event"] or sys.maxsize, []

    def hook(event, arguments):
        if busy or not (event in STARTS or event in CHANGES or event == "open"):
            return
        busy.append(event)
        try:
            if (
                is_event(event, arguments, within)
                and os.path.exists(after)
                and count() >= due
                and not os.path.exists(killed)
            ):
                kill(order)
        finally:
            busy.clear()

    sys.addaudithook(hook)


if FOLDER and os.path.exists(os.path.join(FOLDER, "order.json")):
    watch()
