"""For those who write skills: everything that is generated from their dataclasses."""
