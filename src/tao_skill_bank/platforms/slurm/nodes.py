"""The nodes of a cluster that failed under a job, and whether a retry can do without them."""

import re
from collections.abc import Sequence

from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.slurm import rows
from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.options import Options

FAILED_WORDS = ("NODE_FAIL", "BOOT_FAIL")
NAMES = re.compile(r"[\w.,\[\]-]+", re.ASCII)
WORD = re.compile(r"[A-Z_]+")
EVENT = re.compile(r"(?P<name>[\w.-]+)\|(?P<state>[^|]*)")
NODE = re.compile(r"\s*(?P<name>[\w.-]+)\|(?P<state>\S+)\s*")
FLAGS = ("--noheader", "--parsable2")
BROKEN = re.compile(r"down|fail|error|no_respond|boot", re.I)  # of an event, which may be one of maintenance
DOWN = re.compile(r"down|fail|drain|maint|power|unk|\*$", re.I)  # an asterisk: it does not answer


def to_exclude(cluster: Cluster, number: str, options: Options, needed: int) -> list[str]:
    """Return the nodes whose failure ended a job, as far as `needed` others that are up remain for it.

    Raises:
        BackendError: the cluster cannot be asked.

    """
    failed = _failed(cluster, number)
    if not failed:
        return []
    places = (f"--partition={options.partition}",) if options.partition else ()
    up = {name for name, state in _states(cluster, *places).items() if not DOWN.search(state)}
    up -= set(_expanded(cluster, options.exclude))
    wanted = set(_expanded(cluster, options.nodelist))
    excluded: list[str] = []
    for node in failed:
        if node not in wanted and len(up - {*excluded, node}) >= needed:
            excluded.append(node)
    return excluded


def _failed(cluster: Cluster, number: str) -> list[str]:
    """Return the nodes whose failure ended a job: what Slurm names, else those of the job that were or are down."""
    word, start, nodes = _end(cluster, number)
    if word not in FAILED_WORDS:
        return []
    named = cluster.call("sacct", *FLAGS, "--allocations", "--format=FailedNode", f"--jobs={number}")
    if named.returncode == 0 and (found := _expanded(cluster, answers.first_line(named.stdout))):  # since 23.11
        return found
    members = _expanded(cluster, nodes)
    if len(members) <= 1:
        return members
    return _went_down(cluster, nodes, start, members) or _are_down(cluster, nodes, members)


def _end(cluster: Cluster, number: str) -> tuple[str, str, str]:
    """Return how a job ended, when it started and on which nodes, from the accounting or the controller."""
    done = cluster.call("sacct", *FLAGS, "--allocations", "--format=State,Start,NodeList", f"--jobs={number}")
    parts = [line.strip().split("|") for line in done.stdout.splitlines()]
    known = [row for row in parts if len(row) == 3 and WORD.match(row[0])]
    if done.returncode == 0 and known:
        state, start, nodes = known[-1]
        return re.sub(r"[^A-Z_].*", "", state), start.strip(), nodes.strip()
    found = rows.fields(cluster.call("scontrol", "show", "job", number, "--oneliner").stdout)
    return found.get("JobState", ""), "", found.get("NodeList", "")


def _went_down(cluster: Cluster, nodes: str, start: str, members: Sequence[str]) -> list[str]:
    """Return the nodes that the accounting saw fail since a job started."""
    since = f"uts{start}" if start.isdigit() else start
    if not re.fullmatch(r"[\w:-]*\d", since):
        return []
    words = ("--readonly", "show", "event", f"nodes={nodes}", f"start={since}", "format=NodeName,State")
    done = cluster.call("sacctmgr", *FLAGS, *words)
    events = [row for line in done.stdout.splitlines() if (row := EVENT.fullmatch(line.strip()))]
    failed = {row["name"] for row in events if BROKEN.search(row["state"])} if done.returncode == 0 else set()
    return [name for name in members if name in failed]


def _are_down(cluster: Cluster, nodes: str, members: Sequence[str]) -> list[str]:
    states = _states(cluster, f"--nodes={nodes}")
    return [name for name in members if DOWN.search(states.get(name, ""))]


def _states(cluster: Cluster, *filters: str) -> dict[str, str]:
    """Return the state of each node as sinfo lists it."""
    text = cluster.ask("sinfo", "--noheader", "--Node", "--format=%N|%T", *filters)
    found = [row for line in text.splitlines() if (row := NODE.fullmatch(line))]
    return {row["name"]: row["state"] for row in found}


def _expanded(cluster: Cluster, nodes: str | None) -> list[str]:
    """Return the names of `n[1-3],n7`, as Slurm reads them."""
    if not nodes or not NAMES.fullmatch(nodes):  # "None assigned", (null)
        return []
    if "[" not in nodes:
        return nodes.split(",")
    return [name for name in cluster.ask("scontrol", "show", "hostnames", nodes).split() if NODE.fullmatch(f"{name}|x")]
