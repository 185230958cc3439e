"""What a media file shows: read the same by preflight, trainers, evaluators and reports."""
