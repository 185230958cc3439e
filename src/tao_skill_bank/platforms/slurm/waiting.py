"""What a pending job waits for, in words: squeue names a reason in one word."""

NEVER_RUNS = {
    "PartitionTimeLimit": "its time limit is above the partition's: cancel it and lower --option time_limit",
    "PartitionNodeLimit": "the partition gives no job so many nodes: cancel it and lower platform.nodes",
    "BadConstraints": "no node fits it: cancel it and change what it asks for",
}
REASONS = {
    "Resources": "until enough nodes are free",
    "Priority": "behind jobs of higher priority",
    "BeginTime": "until its start time, which Slurm also sets for a job that it requeues",
    "Dependency": "for another job",
    "ReqNodeNotAvail": "for a node that is down, drained or reserved",
    "NodeDown": "for a node that is down",
    "Reservation": "for its reservation to begin",
    "Licenses": "for a licence",
    "PartitionDown": "until its partition is up; another one: --option partition",
    "PartitionInactive": "until its partition starts jobs again; another one: --option partition",
    "JobHeldUser": "until somebody releases it: scontrol release",
    "JobHeldAdmin": "until an operator of the cluster releases it",
    "Cleaning": "until its earlier attempt is cleaned up",
}
LIMITS = {
    "QOS": "a limit of its quality of service: other jobs of it must end first",
    "Assoc": "a limit of your account: other jobs of it must end first",
}


def message(number: str, reason: str) -> str:
    """Return a sentence with what Slurm job `number` waits for; `reason` is squeue's word, or nothing.

    Slurm appends details to some words: `ReqNodeNotAvail, UnavailableNodes:n1`.
    """
    waits = f"Waits as Slurm job {number}" + (f" ({reason})" if reason else "")
    word = reason.partition(",")[0].strip()
    why = NEVER_RUNS.get(word) or REASONS.get(word)
    why = why or next((text for prefix, text in LIMITS.items() if word.startswith(prefix)), "")
    return f"{waits}: {why}." if why else f"{waits}."
