"""What sbatch's refusals mean, and which of its failures are none because the controller did not answer."""

import re

from tao_skill_bank.errors import Problem
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.answers import Known

OPTION = "platform.options."
KNOWN = tuple(Known(*fields) for fields in (
    (re.compile(r"invalid partition", re.I),
     "unknown_partition", "Slurm has no such partition for you.", "See: sinfo -s",
     OPTION + "partition"),
    (re.compile(r"invalid account|account or account/partition", re.I),
     "unknown_account",
     "Slurm refuses the account, or the account in this partition.",
     "See yours: sacctmgr show associations user=$USER format=account,partition,qos", OPTION + "account"),
    (re.compile(r"invalid qos", re.I),
     "unknown_qos", "Slurm refuses the quality of service.",
     "See yours: sacctmgr show associations user=$USER format=account,qos", OPTION + "qos"),
    (re.compile(r"accounting/qos policy|qosmax|qosgrp|assocmax|assocgrp", re.I),
     "quota_reached",
     "A limit of the account or the quality of service is reached.",
     "Wait for other jobs of yours to end, or ask the cluster's operators: sacctmgr show qos", OPTION + "qos"),
    (re.compile(r"reservation", re.I),
     "reservation_refused", "Slurm refuses the reservation, or keeps the nodes for one.",
     "See: scontrol show reservation; then --option reservation=NAME", OPTION + "reservation"),
    (re.compile(r"license", re.I),
     "unknown_license", "Slurm refuses the licenses.", "See: scontrol show licenses", OPTION + "licenses"),
    (re.compile(r"time limit", re.I),
     "time_limit_exceeded", "The time limit is missing or above what the partition allows.",
     "Lower --option time_limit; see the limits: sinfo -o '%R %l'", OPTION + "time_limit"),
    (re.compile(r"invalid feature", re.I),
     "unknown_constraint", "No node has what --option constraint asks for.",
     "See the nodes' features: sinfo -o '%n %f'", OPTION + "constraint"),
    (re.compile(r"invalid node name", re.I),
     "unknown_node", "A node to use or to exclude does not exist.", "See the nodes: sinfo -N",
     OPTION + "exclude"),
    (re.compile(r"generic resource|gres", re.I),
     "no_such_gpus", "No node of the partition has the GPUs that are asked for.",
     "Lower platform.gpus, or choose a partition with such nodes: sinfo -o '%R %D %G'", "platform.gpus"),
    (re.compile(r"requested (?:node|partition) configuration|node count|more processors|memory|nodes are busy", re.I),
     "no_such_nodes", "The partition cannot give the nodes, cores or memory that are asked for.",
     "Lower platform.nodes, --option cpus_per_task or --option mem; see: sinfo -o '%R %D %c %m %G %T'",
     "platform.nodes"),
))  # fmt: skip
UNKNOWN = Known(re.compile(""), "slurm_refused", "The cluster refuses the job.",
                "Change what its message names; if it is not clear, ask the cluster's operators.",
                "platform.options")  # fmt: skip
# Slurm's own reasons (slurm_strerror) for which nothing is known of what the controller did.
NO_ANSWER = re.compile(
    r"unable to contact slurm|socket timed out|connection (?:refused|reset|timed out|failure)|no route to host"
    r"|communication (?:connection|shutdown) failure|message (?:send|receive) failure|zero bytes were transmitted"
    r"|unexpected message received|protocol (?:version|authentication)|slurm(?:ctld)? .*standby mode|munge"
    r"|(?:could not establish a )?configuration source|invalid authentication credential|unable to establish"
    r"|unable to connect|resource temporarily unavailable|broken pipe|network is unreachable"
    r"|temporary failure in name resolution",
    re.I,
)
# How sbatch introduces the reason that the controller, or the way to it, gave.
REASON = re.compile(r"^(?:\w+: )?(?:(?:error|fatal): )?(?:batch job submission failed|allocation failure): *", re.I)
# How Slurm's commands introduce what went wrong on the way, with the function that reports it.
SAID_BY_SLURM = re.compile(r"^(?:s\w+: (?:error|fatal): )?(?:(?:_*slurm_\w+(?: error)?|authentication): )?", re.I)
SPEAKER = re.compile(r"^\w+: (?:(?:error|fatal|warning|info): )?")
STARTS = re.compile(r"sbatch: Job \S+ to start at ")
NOT_THERE = re.compile(r"command not found|not found$|no such file or directory|cannot execute", re.I)
NOT_STARTED = (126, 127)  # exit codes of a shell


def refusal(text: str) -> Problem:
    """Return why sbatch refuses a request, with the whole text, also where the reason is not known here."""
    return answers.refusal("sbatch", said(text), answers.matching(KNOWN, _reason(text)), UNKNOWN)


def is_unreachable(text: str) -> bool:
    """Return whether a command failed because the controller did not answer, so that what it did is not known.

    Only Slurm's own reason counts: a plugin may say anything about connections.
    """
    lines = _lines(text)
    if not lines:
        return True
    if REASON.match(lines[-1]):
        return bool(NO_ANSWER.search(_reason(text)))
    return bool(NO_ANSWER.match(SAID_BY_SLURM.sub("", lines[-1])))


def is_missing(code: int, text: str) -> bool:
    """Return whether a shell could not start the command."""
    lines = _lines(text)
    return code in NOT_STARTED and (not lines or bool(NOT_THERE.search(lines[-1])))


def said(text: str) -> str:
    """Return a command's text without its name and level at the start of each line."""
    return "\n".join(SPEAKER.sub("", line) for line in _lines(text))


def remarks(text: str) -> list[str]:
    """Return what sbatch, or a plugin in it, reports of a request that it accepts: all but when the job would start."""
    return [line for line in _lines(text) if line.startswith("sbatch: ") and not STARTS.match(line)]


def is_error(line: str) -> bool:
    return bool(re.match(r"\w+: (?:error|fatal): ", line))


def _reason(text: str) -> str:
    """Return the reason at the end, which is Slurm's own."""
    lines = _lines(text)
    return REASON.sub("", lines[-1]) if lines else ""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
