"""The stages that workflows may name: one module each. `workflows/stage.py` says what a module of a stage has."""
