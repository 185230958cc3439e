"""The one reader of annotation records: what preflight, trainer, evaluator and repairs see of a record is the same."""
