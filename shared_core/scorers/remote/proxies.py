"""Proxies from the environment variables."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.request import getproxies, getproxies_environment, proxy_bypass

import httpcore
import httpx

from shared_core.errors import ConfigurationError

_SOCKS = ("socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address and credentials.

    Attributes:
        url: The proxy's address.
        name: The name in messages: the address without credentials, and the variable.
        credentials: User name and password.
    """

    url: httpcore.URL
    name: str
    credentials: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether the proxy uses SOCKS, not HTTP."""
        return self.url.scheme.decode() in _SOCKS


def proxy_for(url: httpx.URL) -> Proxy | None:
    """Return the proxy for an address: ``HTTP_PROXY`` or ``HTTPS_PROXY``, else ``ALL_PROXY``.

    In lower case, too. Where none is set, it is that of the system (macOS, Windows).

    Raises:
        ConfigurationError: The variable holds no address of a proxy, or one of a kind that is not
            supported.
    """
    found = getproxies()
    value = found.get(url.scheme) or found.get("all")
    if not value or not value.strip() or is_excepted(url, found.get("no", "")):
        return None
    if not getproxies_environment() and proxy_bypass(url.host):
        return None
    kind = url.scheme if found.get(url.scheme) else "all"
    return _read(value.strip(), _variable(f"{kind}_proxy"))


def is_excepted(url: httpx.URL, exceptions: str) -> bool:
    """Return whether ``NO_PROXY`` names a host.

    Its entries are separated by commas or blanks: ``*``; a name, with or without a leading dot,
    which stands for all names below it, too; an address or network of IPv4 or IPv6, in brackets or
    not; each with or without a port or a scheme.

    >>> is_excepted(httpx.URL("http://[::1]:8000"), "example.com, [::1]")
    True
    >>> is_excepted(httpx.URL("http://10.1.2.3"), "10.0.0.0/8")
    True
    >>> is_excepted(httpx.URL("http://notexample.com"), ".example.com")
    False
    """
    host = url.host.lower().rstrip(".")
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    for entry in re.split(r"[,\s]+", exceptions.lower()):
        scheme, _, rest = entry.rpartition("://")
        name, wanted = _name_and_port(rest.rstrip("/"))
        if scheme not in ("", "all", url.scheme) or wanted not in ("", str(port)):
            continue
        if name and _is_named(host, name):
            return True
    return False


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself.

    >>> is_loopback("localhost"), is_loopback("127.1.2.3"), is_loopback("::1")
    (True, True, True)
    >>> is_loopback("10.0.0.1"), is_loopback("vllm"), is_loopback("127.example.com")
    (False, False, False)
    """
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def _name_and_port(entry: str) -> tuple[str, str]:
    """Return a host or network without brackets, and its port.

    >>> _name_and_port("[::1]:80"), _name_and_port("[fe80::]/10"), _name_and_port("::1")
    (('::1', '80'), ('fe80::/10', ''), ('::1', ''))
    """
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return (name, rest[1:]) if rest.startswith(":") else (name + rest, "")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _is_named(host: str, name: str) -> bool:
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return fnmatchcase(host, name)
    below = name.removeprefix("*").strip(".")
    return fnmatchcase(host, name) or (bool(below) and f".{host}".endswith(f".{below}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _variable(name: str) -> str:
    """Return the variable's name as spelled, or that the system's settings are used."""
    written = [found for found in os.environ if found.lower() == name]
    return next((found for found in written if found.islower()), "".join(written[:1])) or (
        "the system's settings"
    )


def _read(value: str, variable: str) -> Proxy:
    """Return the proxy of a variable; its value may hold a password and is not shown."""
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or url.scheme not in ("http", "https", *_SOCKS, "socks4", "socks4a", "socks"):
        raise ConfigurationError(
            f"{variable} holds no address of a proxy: expected http://host:port, with a user name "
            "and a password in front of the host if need be"
        )
    shown = f"{url.scheme}://{url.netloc.decode()}"
    remedy = f"give an HTTP proxy, or name the server in NO_PROXY so that {variable} is not used"
    if url.scheme not in ("http", "https", *_SOCKS):
        raise ConfigurationError(
            f"the proxy {shown} of {variable} is of a kind that is not supported: expected "
            f"http://, https:// or socks5://; {remedy}"
        )
    if url.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f"the proxy {shown} of {variable} needs a package that is not installed: "
            f"pip install socksio; or {remedy}"
        )
    default = {"http": 80, "https": 443}.get(url.scheme, 1080)
    address = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port or default, target=b"/"
    )
    credentials = (url.username.encode(), url.password.encode()) if url.userinfo else None
    return Proxy(address, f"{shown} (from {variable})", credentials)
