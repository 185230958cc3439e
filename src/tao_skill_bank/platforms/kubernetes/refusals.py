"""What the refusals of an API server mean: missing rights, known limits, and what a policy says in its own words."""

import re
from dataclasses import dataclass, replace

from tao_skill_bank.errors import Problem, TaoSkillsError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.answers import Known

OPTION = "platform.options."
KNOWN = tuple(Known(*fields) for fields in (
    (re.compile(r"exceeded quota", re.I),
     "quota_reached", "The namespace's quota is used up.",
     "Wait for other jobs to end, ask for less (platform.gpus, --option cpu, --option memory), or see: "
     "kubectl describe resourcequota{namespace_flag}", "platform.gpus"),
    (re.compile(r"must specify (?:limits|requests)", re.I),
     "quota_needs_limits",
     "The namespace's quota wants requests or limits that the pods do not have.",
     "Give them: --option cpu_limit=N for limits.cpu, --option memory=64Gi for limits.memory; see: "
     "kubectl describe resourcequota{namespace_flag}", OPTION + "cpu_limit"),
    (re.compile(r'namespaces? "[^"]*" not found', re.I),
     "unknown_namespace", "There is no such namespace.",
     "Set --option namespace to one of: kubectl get namespaces", OPTION + "namespace"),
    (re.compile(r"because it is being terminated", re.I),
     "namespace_terminating", "The namespace is being deleted.",
     "Set --option namespace to another of: kubectl get namespaces", OPTION + "namespace"),
    (re.compile(r"serviceaccount \S+ not found|error looking up service account", re.I),
     "unknown_service_account",
     "There is no such service account.", "See: kubectl get serviceaccounts{namespace_flag}",
     OPTION + "service_account"),
    (re.compile(r"no PriorityClass", re.I),
     "unknown_priority_class", "There is no such priority class.",
     "See: kubectl get priorityclasses", OPTION + "priority_class"),
    (re.compile(r"violates PodSecurity", re.I),
     "pod_security", "The namespace's rules for pods forbid this one.",
     "Run as a user that is not root (--option user=UID:GID), use a claim instead of host_path, or another namespace.",
     OPTION + "user"),
    (re.compile(r"(maximum|minimum) (cpu|memory) usage|LimitRange|limit to request ratio", re.I),
     "limit_range",
     "The namespace's limits for pods forbid this one.",
     "Change --option cpu, cpu_limit or memory; see: kubectl describe limitrange{namespace_flag}", OPTION + "memory"),
))  # fmt: skip
BY_WEBHOOK = Known(re.compile(""), "policy_refused", "A policy of the cluster refuses the job.",
                   "Change what its message names, or ask the cluster's administrator about this policy.",
                   "platform.options")  # fmt: skip
UNKNOWN = Known(re.compile(""), "kubernetes_refused", "The API server refuses the request.",
                "Correct what it names; if that is not clear, ask the cluster's administrator.",
                "platform.options")  # fmt: skip
# A policy may quote the words of a missing right: these are at the start of what the server's own authorizer says.
MISSING_RIGHT = re.compile(
    r'^(?:[\w./-]+ (?:"[^"]*" )?is )?forbidden: User "(?P<user>[^"]*)" cannot (?P<verb>\w+) '
    r'(?:resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "[^"]*"| at the cluster scope)?|path )(?P<more>.*)',
    re.DOTALL,
)
MISSING_PERMISSION = re.compile(r'^(?:[\w./-]+ (?:"[^"]*" )?is )?forbidden: (?:Required|requires one of) .*permission')
TRY_AGAIN = (401, 408, 425, 429)  # or log in again
BY_POLICY = re.compile(r"denied the request|denied request", re.I)
# How it refuses a log whose container is not there yet, or not any more.
NO_LOG_YET = re.compile(
    r"is waiting to start|ContainerCreating|PodInitializing|is not available|container (?:not found|\S+ is terminated)"
    r"|does not have a host assigned|trying and failing to pull image|previous terminated container|unable to retrieve"
    r" container logs",
    re.I,
)
# How the server says that an object, or a pod of a job, is not admitted: waiting does not help.
FINAL = re.compile(r"\bis forbidden: |\bis invalid: |denied (?:the )?request", re.I)


def refusal(said: str, namespace: str) -> Problem:
    """Return why a server refuses an object, with the whole message, also where it is not known here."""
    otherwise = BY_WEBHOOK if BY_POLICY.search(said) else UNKNOWN
    known = None if otherwise is BY_WEBHOOK else answers.matching(KNOWN, said)  # a policy may use any words
    problem = answers.refusal("Kubernetes", said, known, otherwise)
    return replace(problem, fix=problem.fix.format(namespace_flag=f" --namespace {namespace}"))


def is_refusal(status: int, said: str) -> bool:
    """Return whether an answer other than 2xx refuses the request, whatever the server may do later."""
    if answers.matching(KNOWN, said) is not None or BY_POLICY.search(said) is not None:
        return True
    return 400 <= status < 500 and status not in TRY_AGAIN and "has been modified" not in said


def is_no_log_yet(error: TaoSkillsError) -> bool:
    """Return whether a refused log is that of a container which is not there yet, or not any more."""
    return all(NO_LOG_YET.search(problem.message) is not None for problem in error.problems)


def is_final(said: str) -> bool:
    """Return whether an event of a job tells that its pods will not be admitted."""
    return answers.matching(KNOWN, said) is not None or FINAL.search(said) is not None


def is_missing_right(said: str) -> bool:
    """Return whether the server says that the account lacks a right."""
    return bool(MISSING_RIGHT.match(said) or MISSING_PERMISSION.match(said))


def forbidden(said: str, namespace: str) -> Problem:
    """Return which right is missing, with the commands that give it."""
    found = MISSING_RIGHT.match(said)
    where = OPTION + "kubeconfig"
    if found is None or found["resource"] is None:
        message = f"The account may not do this: {answers.words(said)}"
        fix = f"Ask the cluster's administrator for the rights in {namespace} that skill tao-run-on-kubernetes lists."
        return Problem("credential_forbidden", message, fix, where)
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    right = Right(found["verb"], found["resource"], found["group"] or "")
    message = f"{found['user']} may not {found['verb']} {resource} in namespace {namespace}."
    message += f" Kubernetes reports{answers.words(found['more'])}" if found["more"].strip() else ""
    return Problem("credential_forbidden", message, grant([right], namespace, found["user"]), where)


@dataclass(frozen=True)
class Right:
    """A verb on a resource that an account needs."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def grant(rights: list[Right], namespace: str, user: str) -> str:
    """Return the commands with which the cluster's administrator gives the rights to an account."""
    commands = []
    for resource, group in dict.fromkeys((right.resource, right.group) for right in rights):
        verbs = ",".join(right.verb for right in rights if (right.resource, right.group) == (resource, group))
        base, _, part = resource.partition("/")
        full = base + (f".{group}" if group else "") + (f"/{part}" if part else "")
        name = f"tao-{base}{f'-{part}' if part else ''}"
        commands.append(f"kubectl create role {name} --namespace {namespace} --verb={verbs} --resource={full}")
        account = user.removeprefix("system:serviceaccount:")
        subject = f"--serviceaccount={account}" if account != user else f"--user={user}"
        commands.append(f"kubectl create rolebinding {name} --namespace {namespace} --role={name} {subject}")
    return "As the cluster's administrator: " + " && ".join(commands)
