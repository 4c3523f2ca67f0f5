"""Whose network an IP address is of: what one customer has at least. Pure."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network


@lru_cache(maxsize=4096)
def of(ip: str) -> str | None:
    """The /24, or in IPv6 the /48 (RFC 6177), around an address; None where that tells nothing.

    Behind a proxy that ``PREFS_PROXIES`` does not count, everybody comes from its own address,
    and everybody is not one network.
    """
    try:
        shown = ip_address(ip)
    except ValueError:
        return None
    if isinstance(shown, IPv6Address):
        shown = shown.ipv4_mapped or shown
    if not shown.is_global:
        return None
    return str(ip_network((shown, 24 if shown.version == 4 else 48), strict=False))
