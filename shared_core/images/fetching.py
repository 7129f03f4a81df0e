"""Fetching of images by URL: bounded in bytes and time, to addresses that were checked.

The address that was checked is the one that is connected to, so that a name cannot stand for
another one a moment later. No proxy is used, since one would look the name up by itself.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from time import monotonic
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from shared_core.errors import ImageError, ImageUnreachableError, MissingDependencyError
from shared_core.images.limits import ImageLimits

try:
    import httpcore
except ModuleNotFoundError as missing:
    raise MissingDependencyError("an image by URL", "images") from missing

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_AS_IT_IS = "%/:;=?@!$&'()*+,~[]|"  # of path and query, where escapes are not escaped anew
_PASSING = (408, 425, 429)  # besides 5xx: statuses that a later call may not meet
_CONNECT_SECONDS = 5.0
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of it that the internet routes
# Python before 3.13 counts some of these as public.
_SPECIAL = tuple(map(ipaddress.ip_network, ["192.0.0.0/24", "192.88.99.0/24", "3fff::/20"]))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def fetch(url: str, limits: ImageLimits) -> bytes:
    """Return the bytes of an image file behind a URL.

    Redirects are followed: never to another scheme than https where the URL has that, and never
    from a public address to one that is not.

    Raises:
        ImageUnreachableError: Its server cannot be reached, or fails.
        ImageError: The address is not allowed, the answer is no file, or larger than allowed.
    """
    network = _Network(limits)
    headers = [
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "qwen3-rerank"),
    ]
    try:
        with httpcore.ConnectionPool(network_backend=network) as pool:
            for _ in range(_MOST_REDIRECTS + 1):
                url = _checked(url)
                with pool.stream(
                    "GET", url, headers=headers, extensions={"timeout": network.timeouts}
                ) as response:
                    if response.status not in _REDIRECTS:
                        return _body(response, limits)
                    url = _next(url, response)
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise ImageUnreachableError(f"no image within {limits.seconds:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageUnreachableError(
            f"it cannot be fetched: {error or type(error).__name__}"
        ) from error
    raise ImageError(f"its URL is redirected more than {_MOST_REDIRECTS} times")


def is_public(address: Address) -> bool:
    """Return whether an address is of the internet: none of this machine, nor of a network near it.

    An IPv4 address inside of an IPv6 address counts as itself.
    """
    inside = _inside(address)
    if inside is not None:
        return is_public(inside)
    if any(address in network for network in _SPECIAL):
        return False
    is_unicast = isinstance(address, ipaddress.IPv4Address) or address in _IPV6_UNICAST
    return is_unicast and address.is_global and not address.is_multicast and not address.is_reserved


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _checked(url: str) -> str:
    """Return a URL as it is asked for: in ASCII, as browsers write it.

    Raises:
        ImageError: It is none of http and https, or has a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        path, query = (quote(part, safe=_AS_IT_IS) for part in (parts.path, parts.query))
    except ValueError:  # a port that is no number, half an address, half a character
        raise ImageError(
            "its URL cannot be read: expected one such as https://host/picture.png"
        ) from None
    if parts.scheme not in ("http", "https"):
        raise ImageError(f"it leads to {parts.scheme or 'no'} address: expected http or https")
    if not name:
        raise ImageError("its URL has no host: expected one such as https://host/picture.png")
    if parts.username is not None or parts.password is not None:
        raise ImageError(
            "its URL has a user or password: fetch the image yourself, and give its bytes"
        )
    place = f"[{name}]" if ":" in name else name
    return urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", path, query, ""))


def _next(url: str, response: httpcore.Response) -> str:
    found = dict(_lower(response.headers)).get(b"location", b"")
    try:
        target = urljoin(url, found.decode("utf-8", "replace"))
    except ValueError:
        raise ImageError("its URL is redirected to what is no address") from None
    if not found or (urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"):
        raise ImageError("its URL is redirected to no https address")
    return target


def _body(response: httpcore.Response, limits: ImageLimits) -> bytes:
    if response.status != 200:
        is_passing = response.status >= 500 or response.status in _PASSING
        error = ImageUnreachableError if is_passing else ImageError
        raise error(f"its server answers with status {response.status}")
    stated = dict(_lower(response.headers)).get(b"content-length", b"0")
    found = bytearray()
    if not stated.isdigit() or int(stated) <= limits.max_bytes:
        for part in response.iter_stream():
            found += part
            if len(found) > limits.max_bytes:
                break
        else:
            return bytes(found)
    raise ImageError(f"it has more than {limits.max_bytes} bytes: make it smaller")


def _lower(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name.lower(), value) for name, value in headers)


class _Network(httpcore.NetworkBackend):
    """Opens connections to checked addresses, all of which end at the same moment.

    Args:
        limits: Which addresses are allowed, and how long all may take.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._backend = httpcore.SyncBackend()
        self._is_public_only = limits.addresses == "public"
        self._end = monotonic() + limits.seconds

    @property
    def timeouts(self) -> dict[str, float]:
        """The seconds of each step."""
        left = self.left()
        return {"connect": min(_CONNECT_SECONDS, left), "read": left, "write": left, "pool": left}

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to the host, by the first of its addresses that answers."""
        addresses = self._addresses(host, port)
        for place, address in enumerate(addresses):
            try:
                stream = self._backend.connect_tcp(
                    address,
                    port,
                    min(timeout or _CONNECT_SECONDS, self.left()),
                    local_address,
                    socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):  # noqa: PERF203  # few
                if place + 1 == len(addresses):
                    raise
            else:
                return _Stream(stream, self)
        raise httpcore.ConnectError("its name has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host!r} is not found") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        are_public = all(is_public(ipaddress.ip_address(address)) for address in addresses)
        if self._is_public_only and not are_public:
            raise ImageError(f"{host!r} is no public address, and no other one is allowed here")
        # From outside, nobody may be led inside.
        self._is_public_only = are_public
        return addresses


class _Stream(httpcore.NetworkStream):
    """A connection whose every read and write ends when the time of all is spent."""

    def __init__(self, stream: httpcore.NetworkStream, network: _Network) -> None:
        self._stream, self._network = stream, network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._network.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._network.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **options), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
