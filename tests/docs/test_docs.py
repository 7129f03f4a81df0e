"""Every python block of a page runs and prints what is shown, and every link leads somewhere.

Nothing in them waits for a server, since nothing is sent before a call.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import PAGES, ROOT, name_of, programs, prose, text_of

DECIMAL = re.compile(r"\d\.\d{3}\b")
ROUNDING = 0.002
"""The bundled model is float32 everywhere: other processors differ in the last digit."""

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
PROGRAMS = [
    (f"{name_of(page)}-{number}", code, printed)
    for page in PAGES
    for number, (code, printed) in enumerate(programs(page))
]
CODES = list(dict.fromkeys(code for _, code, _ in PROGRAMS))
"""The READMEs have the same blocks: each runs once."""
RUNNER = """
import contextlib, io, json, sys, traceback
from pathlib import Path
results = []
for number, code in enumerate(json.loads(Path(sys.argv[1]).read_text("utf-8"))):
    printed, failed = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, f"block {number}", "exec"), {"__name__": f"block_{number}"})
        except BaseException:
            failed = traceback.format_exc()
    results.append((printed.getvalue(), failed))
Path(sys.argv[2]).write_text(json.dumps(results), "utf-8")
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """What each block printed, and its traceback if it failed; one process runs all."""
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "blocks.json").write_text(json.dumps(CODES), "utf-8")
    finished = subprocess.run(
        [sys.executable, "-c", RUNNER, "blocks.json", "results.json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert finished.returncode == 0, finished.stderr
    return [tuple(result) for result in json.loads((folder / "results.json").read_text("utf-8"))]


@pytest.mark.parametrize("number", range(len(PROGRAMS)), ids=[name for name, _, _ in PROGRAMS])
def test_a_code_block_runs_and_prints_what_is_shown(
    results: list[tuple[str, str]], number: int
) -> None:
    _, code, shown = PROGRAMS[number]
    printed, failed = results[CODES.index(code)]
    assert not failed, failed
    if shown:
        assert DECIMAL.sub("#", printed) == DECIMAL.sub("#", shown)
        assert [float(one) for one in DECIMAL.findall(printed)] == pytest.approx(
            [float(one) for one in DECIMAL.findall(shown)], abs=ROUNDING
        )


def test_most_pages_show_what_is_printed() -> None:
    pages = {name.rpartition("-")[0] for name, _, shown in PROGRAMS if shown}
    assert {"README.md", "README.zh-CN.md", "docs/python.md", "docs/troubleshooting.md"} <= pages


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(prose(page)):
        leads_to = (page.parent / target) if target else page
        assert leads_to.exists(), target
        if anchor and leads_to.suffix == ".md":
            assert anchor[1:] in anchors(leads_to), f"{target}{anchor}"


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    """By links, over other pages if need be."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target, _ in LINK.findall(text_of(page)):
            leads_to = (page.parent / target).resolve()
            if leads_to.suffix == ".md" and leads_to.exists():
                waiting.append(leads_to)
    assert set(ROOT.glob("docs/**/*.md")) <= reached
