"""Tables in pages: defaults are those of the code, lists of names are complete."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from support.pages import ROOT, table

import shared_core
from benchmarks.bench.shapes import true_shape
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import RankedDocument, RerankerOptions, RerankError
from shared_core.adapter import AdapterOptions

DOCS = ROOT / "docs"
NONE = {"", "none", "best", "by device", "by size", "an eighth", "web search", "the model's"}
WORDS = {"no": False, "off": False}
UNITS = {None: 1, "s": 1, "MiB": 2**20}


def value_of(text: str) -> Any:
    """Return the value that a cell names."""
    plain = text.strip().strip('`"')
    if plain in WORDS:
        return WORDS[plain]
    if plain in NONE:
        return None
    number = re.fullmatch(r"(\d[\d,]*(?:\.\d+)?)(?: (s|MiB))?", plain)
    return float(number[1].replace(",", "")) * UNITS[number[2]] if number else plain


def defaults(options: Any) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in options.model_fields.items()
    }


def rows_with_defaults(page: Path, first: str) -> list[tuple[str, str, str]]:
    """Return (all names of the row, name, default) for each name with a default of its own."""
    found = []
    for row in table(page, first):
        names = re.findall(r"`(\w+)`", row[0])
        values = re.split(r"; |, ", row[1]) if row[1] else []
        found += [(row[0], name, value) for name, value in zip(names, values, strict=False)]
    return found


SERVICE = rows_with_defaults(DOCS / "service.md", "option")
WINDOWS = rows_with_defaults(DOCS / "long_documents.md", "option")


@pytest.mark.parametrize(
    ("options", "rows"),
    [(ServiceSettings, SERVICE), (AdapterOptions, WINDOWS)],
    ids=["service.md", "long_documents.md"],
)
def test_defaults_are_those_of_the_code(options: Any, rows: list[tuple[str, str, str]]) -> None:
    real = defaults(options)
    assert rows
    for _, name, shown in rows:
        assert name in real, f"there is no option {name}"
        expected = None if real[name] in ((), {}, "") else real[name]
        assert value_of(shown) == expected, name


def test_the_readme_has_every_option() -> None:
    names = {
        name
        for row in table(ROOT / "README.md", "option")
        for name in re.findall(r"`(\w+)`", row[0])
    }
    assert names >= set(RerankerOptions.model_fields)
    assert names >= set(AdapterOptions.model_fields) - {"reranker"}


def test_the_service_page_has_every_option_of_its_own() -> None:
    rows = table(DOCS / "service.md", "option")
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    own = set(ServiceSettings.model_fields) - set(RerankerOptions.model_fields)
    assert own <= names


def test_all_errors_are_listed_with_what_else_they_are() -> None:
    errors = {
        name: error
        for name, error in vars(shared_core).items()
        if inspect.isclass(error) and issubclass(error, RerankError) and error is not RerankError
    }
    listed = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2]))
        for row in table(DOCS / "python.md", "error")
    }
    assert listed.keys() == errors.keys()
    for name, error in errors.items():
        parents = {base.__name__ for base in error.__mro__[1:]}
        assert listed[name] <= parents, name
        assert listed[name] | {"RerankError", "Exception"} >= {
            base.__name__ for base in error.__bases__
        }, name


def test_all_fields_of_a_ranked_document_are_listed() -> None:
    rows = table(DOCS / "python.md", "field")
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(names) == sorted(RankedDocument.__dataclass_fields__)


def test_all_lines_of_a_report_are_explained() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "shared_core/check").glob("*.py"))
    names = set(re.findall(r'(?:Finding|_order)\(\s*"([^"]+)"', sources)) | {"latency"}
    listed = {row[0].strip("`") for row in table(DOCS / "check.md", "line")}
    second = (DOCS / "check.md").read_text("utf-8").rpartition("| line |")[2]
    listed |= set(re.findall(r"^\| `([^`]+)` \|", second, re.MULTILINE))
    assert listed == names


def test_all_extras_are_listed() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (section,) = re.findall(r"\[project.optional-dependencies\]\n(.*?)\n\n", text, re.DOTALL)
    extras = set(re.findall(r"^([\w-]+) = ", section, re.MULTILINE))
    rows = table(DOCS / "install.md", "extra")
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])} == extras


def test_sizes_are_arithmetic() -> None:
    """Two bytes a parameter on disk; in memory, those of the layers in two, four or one byte."""
    for name, parameters, disk, half, full, eight in table(DOCS / "install.md", "model"):
        billions = float(parameters.partition(" ")[0])
        assert float(disk.split()[0]) == pytest.approx(billions * 2, rel=0.01), name
        shape = true_shape(name.rpartition("-")[2].strip("`").lower(), 151_669)
        layers = shape.product_flops_per_token / 2 / 1e9
        for cell, width in ((half, 2), (full, 4), (eight, 1)):
            assert float(cell.split()[0]) == pytest.approx(layers * width, abs=0.051), name


def test_the_tour_of_the_code_names_what_is_there() -> None:
    """Every path exists, and every folder of `shared_core` is in it."""
    tour = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = [line.split("|") for line in tour.splitlines() if line.startswith("| `")]
    for _, paths, said, *_ in rows:
        folder = ROOT
        for path in re.findall(r"`([^`]+)`", paths):
            whole = ROOT / path if "/" in path else folder / path
            assert whole.exists(), path
            folder = whole if path.endswith("/") and "/" in path else whole.parent
        if folder.parent == ROOT / "shared_core" or "remote" in paths:
            for module in re.findall(r"`([a-z_]+)`", said):
                assert (folder / f"{module}.py").exists() or (folder / module).is_dir(), module
    for package in ("shared_core", "qwen3_rerank"):
        for path in (ROOT / package).glob("*/__init__.py"):
            assert f"`{package}/{path.parent.name}/" in tour, path.parent.name


def test_files_are_not_longer_than_contributing_says() -> None:
    """A wall to be moved when a room gets crowded."""
    said = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (limit,) = re.findall(r"up to some (\d+)", said)
    for package in (
        "shared_core",
        "qwen3_rerank",
        "langchain_qwen3_rerank",
        "llama_index_qwen3_rerank",
    ):
        for path in (ROOT / package).rglob("*.py"):
            most = int(limit) * (1.3 if path.name == "reranker.py" else 1.1)
            assert len(path.read_text("utf-8").splitlines()) <= most, path
