"""Hyperparameter search over the trainings of any skill that has a train schema."""
