"""Two pictures of a few hundred bytes: for checks of models that see, and to ask servers with."""

import base64
from pathlib import Path

_FOLDER = Path(__file__).parent / "pictures"

SQUARE = _FOLDER / "red_square.png"
"""A red square on white."""
DISC = _FOLDER / "blue_disc.png"
"""A blue disc on white."""


def as_data_url(path: Path) -> str:
    """Return one of them as a ``data:`` address, which takes no Pillow."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
