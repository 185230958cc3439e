"""Packaged prompts, a folder per domain; a domain without a file uses that of `general`."""
