"""A look at a dataset without a request: what it is, what is in it, and what is wrong with it."""
