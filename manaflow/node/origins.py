"""Whom a browser may carry here: Host (DNS rebinding), Origin (other web pages), CORS. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

WEB_SCHEMES = ("http", "https")
"""Origins of web pages. Browser extensions (wallets) have schemes of their own, and were installed by the user."""


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """What Host and Origin may say."""

    checks_host: bool
    """On a loopback address, and wherever names are listed."""
    hosts: frozenset[str]
    """Names besides localhost and plain addresses; "*" for any."""
    origins: frozenset[str]
    """Web origins, as browsers write them; "*" for all."""

    def refusal(self, headers: Headers) -> str | None:
        """Why a request is refused (HTTP 403), or None."""
        if self.checks_host and not self.allows_host(headers.get("host", "")):
            return "invalid host specified"
        origin = headers.get("origin")
        if origin is not None and not self.allows_origin(origin, headers.get("host", "")):
            return "origin not allowed"
        return None

    def allows_host(self, host: str) -> bool:
        """A Host header without a name is safe: what rebinds is a name."""
        name = host_name(host)
        return name == "localhost" or is_address(name) or "*" in self.hosts or name in self.hosts

    def allows_origin(self, origin: str, host: str) -> bool:
        """Pages served from this very host and port, those listed, and what is no web page."""
        if self.is_listed(origin):
            return True
        scheme, _, authority = origin.partition("://")
        if not authority:  # "null": a sandboxed page or a file
            return False
        return scheme.lower() not in WEB_SCHEMES or authority.lower() == host.lower()

    def is_listed(self, origin: str) -> bool:
        """Whether CORS headers go out for it."""
        return "*" in self.origins or origin in self.origins

    def cors_headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Headers that let a listed origin's page read the answer; none for others."""
        if origin is None or not self.is_listed(origin):
            return []
        return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]


def host_name(host: str) -> str:
    """The name or address of a Host header, without port, brackets and case; "" for none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine only."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
