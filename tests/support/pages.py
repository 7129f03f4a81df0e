"""The pages that tests read, and their parts."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "shared_core/tiny/README.md"]
)

_BLOCK = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# A python block, and the text block right behind it where there is one.
_PROGRAM = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)


def name_of(page: Path) -> str:
    """Return what a test calls a page."""
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """Return a page."""
    return page.read_text("utf-8")


def programs(page: Path) -> list[tuple[str, str]]:
    """Return every python block with the output shown behind it, which may be empty."""
    return [(code, printed or "") for code, printed in _PROGRAM.findall(text_of(page))]


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return _BLOCK.sub("", text_of(page))


def command_lines(page: Path) -> list[str]:
    """Return every command of the blocks that have no language, continued lines joined."""
    lines = []
    for language, block in _BLOCK.findall(text_of(page)):
        if language in ("", "sh", "bash", "shell", "console"):
            lines += block.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


def table(page: Path, first: str) -> list[list[str]]:
    """Return the rows of the table whose head begins with this cell."""
    rows = []
    lines = iter(text_of(page).splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
    assert rows, f"{page.name} has no table that begins with {first!r}"
    return rows
