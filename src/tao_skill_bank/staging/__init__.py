"""Object stores: inputs are staged once on the job's machine, and results are uploaded as the request says."""
