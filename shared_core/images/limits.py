"""`ImageLimits`: how large images may be, and where they may come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Addresses = Literal["any", "public", "none"]
"""Whose URLs are fetched: ``"public"`` leaves out loopback, private and link-local networks."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds on images.

    Attributes:
        max_bytes: The most bytes of an image file.
        max_pixels: The most pixels of an image, width times height.
        paths: Whether a string may name a file of this machine.
        addresses: Whose URLs are fetched.
        seconds: The most that fetching one image may take.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 2**26
    paths: bool = True
    addresses: Addresses = "any"
    seconds: float = 20.0
