"""Small tools that know nothing of the bank: settings (the only environment reader), YAML, nested values, redaction."""
