"""Object stores: what a job reads is brought to its machine once, and what it writes goes where the request says."""
