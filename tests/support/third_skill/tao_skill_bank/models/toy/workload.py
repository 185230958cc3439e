from tao_skill_bank.contracts import Workload


def describe(action, spec):
    if action != "train":
        return Workload()
    train = spec["train"]
    return Workload(
        trains=True,
        resume_from=train["resume"] if isinstance(train["resume"], str) else None,
        resume=bool(train["resume"]),
        epochs=train.get("stop_epoch") or train["epoch"],
        validation_split=0.1,
    )
