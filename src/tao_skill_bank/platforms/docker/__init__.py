"""Jobs in a container of a Docker engine."""
