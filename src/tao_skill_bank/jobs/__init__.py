"""Jobs after their launch: records, states, progress, logs and what went wrong."""
