"""Rows of tables: of CSV, and of the first sheet of a workbook of Excel (.xlsx)."""

from __future__ import annotations

import csv
import io
import posixpath
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from qwen3_rerank.reading.text import InputError
from shared_core.errors import MissingDependencyError

_MOST_BYTES, _MOST_STYLE_BYTES = 8 * 2**20, 2**20  # of one part of a workbook, unpacked
_MOST_TAGS = 1_000_000  # an element takes more memory than its few bytes
_MOST_ROWS, _MOST_COLUMNS, _MOST_CELLS = 200_000, 128, 2_000_000
_EXCEL_ROWS = 1_048_576
_LONGEST_CELL = 100_000_000
_DELIMITERS = ",;\t"  # Excel writes any of them, by the language of the computer

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET, _STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
_FRAME = {
    "[Content_Types].xml": f'''<Types xmlns="{_PACKAGE}/content-types">
<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>
<Override PartName="/{_SHEET}" ContentType="{_KIND}.worksheet+xml"/>
<Override PartName="/{_STRINGS}" ContentType="{_KIND}.sharedStrings+xml"/></Types>''',
    "xl/workbook.xml": f'''<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">
<sheets><sheet name="1" sheetId="1" r:id="rId1"/></sheets></workbook>''',
    "xl/_rels/workbook.xml.rels": f'''<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="rId1" Target="/{_SHEET}" Type="{_RELATIONS}/worksheet"/></Relationships>''',
}
"""A workbook without its sheet: the parts of ECMA-376 that openpyxl asks for."""

Row = tuple[int, list[str]]


def column_of(header: Iterable[str], names: Iterable[str]) -> int | None:
    """Return the place of the first of some names in a header; capital letters do not matter.

    >>> column_of(["ID", " Text"], ["document", "text"]), column_of(["id"], ["text"])
    (1, None)
    """
    heads = [head.strip().casefold() for head in header]
    known = [name.casefold() for name in names]
    return next((heads.index(name) for name in known if name in heads), None)


def csv_rows(text: str, name: str, names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a CSV that are not blank: line numbers and cells.

    Cells are separated by what makes one of ``names`` a head of a column: comma, semicolon or tab.

    Raises:
        InputError: A row is not CSV.
    """
    before = csv.field_size_limit(_LONGEST_CELL)
    first = text.lstrip().partition("\n")[0]
    heads = {mark: [head.strip(' "') for head in first.split(mark)] for mark in _DELIMITERS}
    known = (mark for mark in _DELIMITERS if column_of(heads[mark], names) is not None)
    delimiter = next(known, ",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(str(error), "csv").at(name, reader.line_num) from None
    finally:
        csv.field_size_limit(before)
    if rows:
        yield rows[0][0], [cell.strip() for cell in rows[0][1]]
        yield from rows[1:]


def workbook_rows(raw: bytes, name: str) -> Iterator[Row]:
    """Yield the rows of the first sheet of a workbook; a formula is its last computed value.

    Only this sheet, the strings and the number formats are unpacked, each within bounds, and
    entities in their XML are refused: a small file cannot take much time or memory.

    Raises:
        InputError: The file is not a workbook, is damaged or too large.
        MissingDependencyError: openpyxl or defusedxml is not installed.
    """
    try:
        import openpyxl
        from defusedxml.ElementTree import fromstring
    except ImportError:
        raise MissingDependencyError("workbooks", "ui") from None
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = _parts(archive, fromstring)
        # openpyxl would read much else, some of it slowly: it gets a workbook of these parts alone.
        book = openpyxl.load_workbook(_workbook(parts), read_only=True, data_only=True)
        sheet: Any = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        cells = 0
        for line, row in _filled(
            sheet.iter_rows(max_row=_EXCEL_ROWS, max_col=_MOST_COLUMNS, values_only=True)
        ):
            cells += len(row)
            if line > _MOST_ROWS or cells > _MOST_CELLS:
                raise _too_large()
            yield line, row
    except InputError as error:
        raise InputError(f"{name}: {error}", error.problem, **error.values, name=name) from None
    except Exception as error:  # noqa: BLE001  # of a damaged file, openpyxl raises anything
        message = f"{name}: not a workbook that can be read ({type(error).__name__})"
        raise InputError(message, "workbook", name=name) from None


def _parts(archive: zipfile.ZipFile, parse: Callable[[bytes], Any]) -> dict[str, bytes]:
    """Return the first sheet, the strings and the formats, by openpyxl's names of these parts."""
    book = parse(_unpacked(archive, "xl/workbook.xml", _MOST_STYLE_BYTES))
    relations = parse(_unpacked(archive, "xl/_rels/workbook.xml.rels", _MOST_STYLE_BYTES))
    first = next(node for node in book.iter() if node.tag.endswith("}sheet"))
    (sheet,) = (value for key, value in first.items() if key.endswith("}id"))
    parts = {_STRINGS: f'<sst xmlns="{_MAIN}"/>'.encode()}
    for relation in relations:
        path = posixpath.normpath(posixpath.join("/xl", relation.get("Target"))).strip("/")
        kind = relation.get("Type").rpartition("/")[2]
        if relation.get("Id") == sheet:
            parts[_SHEET] = _unpacked(archive, path, _MOST_BYTES)
        elif kind == "sharedStrings":
            parts[_STRINGS] = _unpacked(archive, path, _MOST_BYTES)
        elif kind == "styles":
            parts["xl/styles.xml"] = _unpacked(archive, path, _MOST_STYLE_BYTES)
    if _SHEET not in parts:
        raise KeyError(sheet)
    return parts


def _workbook(parts: Mapping[str, bytes]) -> io.BytesIO:
    """Return a workbook that has these parts alone."""
    contents: dict[str, str | bytes] = {**_FRAME, **parts}
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return made


def _unpacked(archive: zipfile.ZipFile, part: str, most: int) -> bytes:
    with archive.open(part) as file:  # unpacked so far and no further, whatever its head says
        content = file.read(most + 1)
    if len(content) > most or content.count(b"<") > _MOST_TAGS:
        raise _too_large()
    return content


def _too_large() -> InputError:
    most = _MOST_BYTES // 2**20
    message = f"too large: {most} MiB unpacked and {_MOST_ROWS:,} rows are read"
    return InputError(f"{message} (save the sheet as CSV)", "unpacked", most=most, rows=_MOST_ROWS)


def _filled(rows: Iterable[tuple[object, ...]]) -> Iterator[Row]:
    """Yield the rows that are not blank as text, all as long as the first one."""
    width = 0
    for line, row in enumerate(rows, 1):
        if row.count(None) < len(row):
            cells = [_text(value) for value in row]
            width = width or max((at for at, cell in enumerate(cells, 1) if cell), default=0)
            if width and any(cells[:width]):
                yield line, cells[:width]


def _text(value: object) -> str:
    """Return a cell as a spreadsheet shows it, but for its number format."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return str(value).strip()
