"""The public bank's launch preflight: same flags, lines and exit codes, on this bank's checks."""
