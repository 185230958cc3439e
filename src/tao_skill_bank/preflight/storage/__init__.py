"""Checks of what lies elsewhere: object stores, the hub and the credentials for them."""
