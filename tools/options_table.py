"""Writes the table of options into the pages that have its markers, from the declarations.

::

    python tools/options_table.py           writes
    python tools/options_table.py --check   exits with 1 if a page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from shared_core import RankingOptions, RerankerOptions
from shared_core.adapter import AdapterOptions
from shared_core.options import about_options

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "README.zh-CN.md")
BEGIN, END = "<!-- options -->", "<!-- end of options -->"
HEADS = {
    "README.md": ("option", "default", "meaning"),
    "README.zh-CN.md": ("参数", "默认值", "含义（英文，与命令行帮助一致）"),
}
GROUPS = ("Model", "Computing", "Ranking", "Long documents", "Calls", "Server")
GROUPS += ("Retries and limits",)


def table(page: str) -> str:
    """Return the table for a page: one row per option, group after group."""
    rows = [HEADS[page], ("---",) * 3]
    for group in GROUPS:
        fields: dict[str, FieldInfo] = {}
        for model in (RerankerOptions, RankingOptions, AdapterOptions):
            for name, about in about_options(model).items():
                if about.group == group:
                    fields.setdefault(name, model.model_fields[name])
        rows += [
            (f"`{name}`", _default(field), field.description or "")
            for name, field in fields.items()
        ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is None:
        return ""
    return f"`{field.default!r}`".replace("'", '"')


def updated(page: str) -> str:
    """Return the text of a page with the table as it should be.

    Raises:
        ValueError: The page has no markers.
    """
    text = (ROOT / page).read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    return f"{head}{begin}\n\n{table(page)}\n\n{end}{tail}"


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = [page for page in PAGES if (ROOT / page).read_text("utf-8") != updated(page)]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page}: the table of options is out of date: python tools/options_table.py")
        return bool(stale)
    for page in stale:
        (ROOT / page).write_text(updated(page), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
