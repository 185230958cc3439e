"""From a request to a nested spec that its schema accepts, or every violation at once."""
