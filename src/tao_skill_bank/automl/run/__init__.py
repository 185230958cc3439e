"""A search while it runs: the controller, its trials, the best one and the page that shows them."""
