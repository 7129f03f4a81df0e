"""Servers that take long to install: `make test` leaves this folder out."""

from __future__ import annotations

from with_servers.conftest import _no_keys, connect, gateway

__all__ = ["_no_keys", "connect", "gateway"]
