"""Utilities independent of the bank: settings (the only environment reader), YAML, nested values, secrets."""
