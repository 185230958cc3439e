"""Hosts that data is sent to, by their URLs: which of them are this machine itself."""

import ipaddress
from urllib.parse import urlsplit


def of_url(url: str) -> str:
    """Return the host of a URL in lower case; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its address or as `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
