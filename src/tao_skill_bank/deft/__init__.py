"""The DEFT loop: what a user says of it, as inputs of `workflow/deft/deft.yaml`, and the page of a run."""

WORKFLOW = "deft"
SKILL = "tao-finetune-cosmos-reason"  # whose actions the workflow names
