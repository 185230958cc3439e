"""The nodes of a cluster that failed under a job, and whether a retry can do without them."""

import re

from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.options import Options

FAILED_WORDS = ("NODE_FAIL", "BOOT_FAIL")
FAILED = re.compile(r"\s*(?P<word>[A-Z_]+)[^|]*\|(?P<failed>[^|]*)\|(?P<nodes>[^|]*)")
NODE = re.compile(r"\s*(?P<name>[\w.-]+)\|(?P<state>\S+)\s*")
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
    """Return the nodes that the accounting names for a job's end, else those of the job that are down now."""
    flags = ("--noheader", "--parsable2", "--allocations", "--format=State,FailedNode,NodeList")
    done = cluster.call("sacct", *flags, f"--jobs={number}")
    found = [row for line in done.stdout.splitlines() if (row := FAILED.fullmatch(line))]
    if done.returncode != 0 or not found or found[-1]["word"] not in FAILED_WORDS:
        return []
    if named := _expanded(cluster, found[-1]["failed"].strip()):
        return named
    nodes = found[-1]["nodes"].strip()
    if not re.fullmatch(r"[\w.,\[\]-]+", nodes):  # "None assigned"
        return []
    return sorted(name for name, state in _states(cluster, f"--nodes={nodes}").items() if DOWN.search(state))


def _states(cluster: Cluster, *filters: str) -> dict[str, str]:
    """Return the state of each node as sinfo lists it."""
    text = cluster.ask("sinfo", "--noheader", "--Node", "--format=%N|%T", *filters)
    rows = [row for line in text.splitlines() if (row := NODE.fullmatch(line))]
    return {row["name"]: row["state"] for row in rows}


def _expanded(cluster: Cluster, nodes: str | None) -> list[str]:
    """Return the names of `n[1-3],n7`, as Slurm reads them."""
    if not nodes or not re.fullmatch(r"[\w.,\[\]-]+", nodes):
        return []
    if "[" not in nodes:
        return nodes.split(",")
    return [name for name in cluster.ask("scontrol", "show", "hostnames", nodes).split() if NODE.fullmatch(f"{name}|x")]
