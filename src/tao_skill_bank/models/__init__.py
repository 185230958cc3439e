"""One folder per model, with the same file names in each; the control plane reads only `config`."""
