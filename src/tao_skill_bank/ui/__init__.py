"""Jobs, curves, clips and reports in a browser, read-only and on this machine alone."""
