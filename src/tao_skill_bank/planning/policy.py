"""automl_policy from the explicit value or the user's words, and the route that follows from it. Pure."""

import re
from dataclasses import dataclass
from typing import Literal

from tao_skill_bank.bank.catalog import QUALIFIER, Skill
from tao_skill_bank.contracts import Finding, Request, Route
from tao_skill_bank.runs import enclosing

Policy = Literal["auto", "off"]
AUTOML_SKILL = f"{QUALIFIER}tao-run-automl"
NOT_RUNNABLE = "AutoML is enabled but not runnable for this model until schemas are generated"

# Phrases for the search.
SEARCH = (
    r"(?:auto[\s-]?ml(?:[_\s-]?policy|[_\s-]?enabled)?|hpo"
    r"|hyper[\s-]?param(?:eter)?s?[\s-](?:search|tuning|optimi[sz]ation|sweeps?)"
    r"|hp[\s-](?:search|tuning)|(?:parameter|grid|random|bayesian)[\s-](?:search|sweep)|sweeps?|auto[\s-]?tun(?:e|ing)"
    r"|tune\s+it\b|(?:tun(?:e|ing)|optimi[sz](?:e|ing)|search(?:ing)?|explor(?:e|ing))\s+(?:over\s+|for\s+)?"
    r"(?:the\s+|my\s+)?(?:best\s+)?(?:hyper[\s-]?param(?:eter)?s|learning\s+rates?))"
)
FILLER = (
    r"(?:\s+(?:the|any|an|a|all|of|that|this|your|my|our|more|some|use|using|do|doing|run|running|on|with|for|kind"
    r"|automatic|it)\b)*"
)
STOP_VERB = (
    r"(?:turn(?:ing|ed)?\s+off|switch(?:ing|ed)?\s+off|shut(?:ting)?\s+off|disabl(?:e|es|ed|ing)|deactivat(?:e|ed|ing)"
    r"|skip(?:ping|ped)?|avoid(?:ing)?|omit(?:ting)?|bypass(?:ing)?|stop|opt(?:ing)?\s+out\s+of|drop(?:ping)?"
    r"|leav(?:e|ing)\s+out|forget(?:\s+about)?|exclud(?:e|ing)|hold(?:ing)?\s+off\s+on|refrain(?:ing)?\s+from|forgo"
    r"|dislike|hate|desactiv\w+)"
)
PLAIN = (
    r"(?:(?:plain|vanilla|simple|direct|regular|normal|ordinary|basic|single|straight(?:forward)?|standard|manual)\s+(?:\w+\s+)?"
    r"(?:training|train|run|fine[\s-]?tun\w*|sft)\b"
    r"|just\s+(?:train|fine[\s-]?tune)|train(?:ing)?\s+directly|(?:only\s+train|train(?:\s+it)?(?:\s+only)?)\s+once|only\s+one\s+trial"
    r"|one\s+(?:plain\s+)?(?:training\s+)?run\s+only)"
    r"(?!\s*/|\s+(?:data\w*|sets?|splits?|images?|videos?|clips?|footage|samples?|records?|annotations?|folder)\b)"
)
SET_VERB = rf"(?:turn|switch|keep|leave|have|set){FILLER}\s+{SEARCH}\s+(?:turned\s+|switched\s+|to\s+)?"
IS = r"\s*(?:[:=]|\bis\b|\bshould\s+be\b|\bmust\s+be\b|\bto\b)\s*(?:turned\s+|switched\s+|set\s+to\s+)?"
OFF_WORD = r"(?:off|disabled|false|none|no)\b"
ON_WORD = r"(?:on|enabled|true|auto|yes)\b"
UNWANTED = (
    r"\s+(?:(?:is|are|should|must|can|may|need)\s+not|cannot|(?:is|are|should|must|ca|need)n'?t|not)\s+(?:be\s+)?"
    r"(?:needed|wanted|required|necessary|desired|wished|used|run|start\w*|launched)\b"
)

# A negation directly before a phrase reverses it; filler words in between are ignored.
NEGATION = (
    r"(?:do\s*n[o']?t|don't|dont|does\s*n[o']?t|never|(?<!why\s)not|sans|keine?|ohne|sin|no\s+need\s+(?:to|for)|please\s+no|no|without|w/o"
    r"|instead\s+of|rather\s+than|won't|cannot|can't|shouldn't|must\s*n[o']t|no\s+longer)"
)
BETWEEN = (
    r"(?:\s+(?:want|need|have|like|wish|to|you|me|us|ever|even|please|just|think|we|i|should|be|the|any|a|an|use|using"
    r"|do|doing|run|running|perform|performing|launch|start|let|it|with|by|interested|in|reason|point|a/b|tune|optimi[sz]e|search|over|actually|really|more|of|for|further))*\s*$"
)
NEGATED = re.compile(rf"\b{NEGATION}\b{BETWEEN}")

# The leftmost match decides; at the same position, the first pattern.
MEANINGS: tuple[tuple[str, Policy], ...] = (
    (rf"{STOP_VERB}{FILLER}\s+{SEARCH}", "off"),
    (rf"{SET_VERB}{OFF_WORD}", "off"),
    (rf"{SEARCH}{IS}{OFF_WORD}", "off"),
    (rf"{SEARCH}\s+(?:turned\s+|switched\s+)?(?:off|disabled)\b", "off"),
    (rf"{SEARCH}{UNWANTED}", "off"),
    (r"no\s+(?:tuning|search)\b(?!\s+of\b)", "off"),
    (r"no\s+need\s+(?:to\s+(?:tune|search|optimi[sz]e)|for\s+(?:tuning|a\s+search))\b(?!\s+of\b)", "off"),
    (r"(?:default|given|fixed|these|my)\s+hyper[\s-]?param(?:eter)?s?\b", "off"),
    (r"hyper[\s-]?param(?:eter)?s?\s+are\s+fixed", "off"),
    (PLAIN, "off"),
    (rf"{SET_VERB}{ON_WORD}", "auto"),
    (rf"{SEARCH}{IS}{ON_WORD}", "auto"),
    (SEARCH, "auto"),
)
PHRASE = re.compile("|".join(rf"(?P<m{index}>\b{pattern})" for index, (pattern, _) in enumerate(MEANINGS)))
OPPOSITE: dict[Policy, Policy] = {"off": "auto", "auto": "off"}


@dataclass(frozen=True)
class Resolution:
    """The policy of one run and where it came from."""

    policy: Policy
    reason: str


def resolve(explicit: Policy | None, prompt: str) -> Resolution:
    """Return the policy: the explicit value, else the last thing the prompt says about it, else auto."""
    if explicit:
        return Resolution(explicit, f"automl_policy is '{explicit}' in the request")
    found = _in_words(prompt)
    if found:
        policy, words = found
        return Resolution(policy, f'the prompt says "{words}"')
    return Resolution("auto", "neither automl_policy nor the prompt says otherwise")


def route(skill: Skill, request: Request) -> tuple[Route, list[Finding]]:
    """Return who runs the request, and why. The skill's metadata is only read."""
    found, findings = _route(skill, request)
    if request.automl.keys() - {enclosing.SEARCH} and found.kind == "direct":
        message = f"The options under `automl` are not used: {found.reason}."
        fix = "Remove them, or ask for a search: --automl-policy auto"
        findings = [*findings, Finding("automl_ignored", "warning", message, fix, "automl")]
    return found, findings


def _route(skill: Skill, request: Request) -> tuple[Route, list[Finding]]:
    if request.action != "train":
        return _direct(skill, f"action '{request.action}' never routes to AutoML"), []
    if not skill.info.automl_enabled:
        return _direct(skill, "the skill does not enable AutoML"), []
    resolution = resolve(request.automl_policy, request.prompt)
    if resolution.policy == "off":
        return _direct(skill, f"AutoML is off: {resolution.reason}"), []
    if not skill.is_automl_runnable("train"):
        fix = "Regenerate them with `make schemas`, or continue with direct training."
        return _direct(skill, NOT_RUNNABLE), [Finding("automl_not_runnable", "warning", NOT_RUNNABLE, fix)]
    reason = f"AutoML is enabled and {resolution.reason}"
    return Route(kind="automl", skill=AUTOML_SKILL, reason=reason, skill_dir=str(skill.folder)), []


def _direct(skill: Skill, reason: str) -> Route:
    return Route(kind="direct", skill=f"{QUALIFIER}{skill.name}", reason=reason, skill_dir=str(skill.folder))


def _in_words(prompt: str) -> tuple[Policy, str] | None:
    """Return the last statement of the prompt about the search.

    Each negation before a phrase, in its clause, reverses it. A bare mention is weaker than a statement: it decides
    only if its clause has no statement before it.
    """
    decided: tuple[Policy, str] | None = None
    text = re.sub(r"\?\s*(?=no\b)", ": ", prompt.lower().replace("’", "'"))
    for clause in re.split(r"[.;!?\n]|,\s*|\bbut\b|\bhowever\b", text):
        stated = False
        for match in PHRASE.finditer(clause):
            index = int(str(match.lastgroup)[1:])
            policy, start = _with_negations(MEANINGS[index][1], clause, match.start())
            is_bare = index == len(MEANINGS) - 1 and start == match.start()
            if not (is_bare and stated):
                decided = policy, clause[start : match.end()].strip()
            stated = True
    return decided


def _with_negations(policy: Policy, clause: str, start: int) -> tuple[Policy, int]:
    """Return the meaning after all negations directly before `start`, and where the first one begins."""
    while negation := NEGATED.search(clause[:start]):
        policy, start = OPPOSITE[policy], negation.start()
    return policy, start
