"""Hooks of MkDocs: files of the repository that pages link to are part of the site.

Pages in `docs/` link to each other, to pages outside of it (`SECURITY.md`), and to source files.
On the site a page outside of `docs/` keeps its path in the repository, and a source file is a copy
under `source/`, with `.txt` behind its name, which every browser shows. Of a folder, the copy is a
list of its files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "shared_core/tiny/README.md")
"""The pages outside of `docs/`."""

_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)([^)]*\))")
_CHINESE_WRAP = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_config(config: Any) -> Any:
    """Make anchors as GitHub makes them, so that links work in both places."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages outside of `docs/`, and what any page links to."""
    for path in PAGES:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for file in list(files.documentation_pages()):
        origin = Path(file.abs_src_path or "").parent
        for part in _prose(file.content_string):
            for _, link, _ in _LINK.findall(part):
                target = (origin / link).resolve()
                if target.exists() and files.get_file_from_path(uri_of(target)) is None:
                    files.append(_copy(config, target))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between files of the site.

    Lines that end and begin with Chinese are joined, since browsers show a space at their end.
    """
    origin = Path(page.file.abs_src_path).parent

    def of_site(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        target = (origin / link).resolve()
        # What does not exist is left alone: MkDocs names it.
        return f"{before}/{uri_of(target)}{after}" if target.exists() else match[0]

    parts = _FENCED.split(markdown)
    parts[::2] = [_CHINESE_WRAP.sub("", _LINK.sub(of_site, part)) for part in parts[::2]]
    return "".join(parts)


def uri_of(target: Path) -> str:
    """Return where a file of the repository is on the site."""
    if target.is_relative_to(DOCS) and target.is_file():
        return target.relative_to(DOCS).as_posix()
    path = target.relative_to(ROOT).as_posix()
    if path in PAGES or target.suffix == ".png":
        return path
    return f"source/{path}.txt"


def _copy(config: Any, target: Path) -> File:
    uri = uri_of(target)
    if target.is_file():
        return File.generated(config, uri, abs_src_path=str(target))
    names = sorted(
        path.relative_to(ROOT).as_posix()
        for path in target.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    return File.generated(config, uri, content="\n".join(names) + "\n")


def _prose(markdown: str) -> list[str]:
    return _FENCED.split(markdown)[::2]
