"""Checks of remote resources: object stores, the hub and the credentials for them."""
