"""Documents from files: encodings, tables, and workbooks that mean harm."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping

import pytest

from qwen3_rerank.reading.document_files import read_documents
from qwen3_rerank.reading.text import InputError

openpyxl = pytest.importorskip("openpyxl", reason="no openpyxl here: pip install -e '.[ui]'")

CHINESE = "编号,内容\n1,如因尺码不合适退货，运费由买家承担。\n2,订单在两个工作日内从仓库发出\n"
TEXTS = ["如因尺码不合适退货，运费由买家承担。", "订单在两个工作日内从仓库发出"]
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


def texts(raw: bytes, name: str) -> list[str]:
    return [document.text for document in read_documents(raw, name)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_chinese_is_read_as_spreadsheets_save_it(encoding: str) -> None:
    """With Chinese heads, and whichever delimiter the computer writes."""
    for delimiter in ",;\t":
        raw = CHINESE.replace(",", delimiter).encode(encoding)
        assert texts(raw, "表.csv") == TEXTS
    assert texts("\n".join(TEXTS).encode(encoding), "a.txt") == TEXTS


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Bébé ménage à l’été: naïveté, garçon", "cp1252"),
        ("Покупатель оплачивает возврат посылки", "cp1251"),
        ("返品の送料はお客様のご負担となります", "shift-jis"),
        ("退貨的運費由買家承擔，請於三十天內寄回", "big5"),
        ("plain", "utf-16-le"),
    ],
)
def test_other_old_encodings_are_refused_and_not_read_as_chinese(text: str, encoding: str) -> None:
    with pytest.raises(InputError, match=r"a.txt, line 2: not UTF-8, UTF-16 or GBK") as caught:
        read_documents(b"fine\n" + text.encode(encoding), "a.txt")
    assert caught.value.problem == "encoding"


def test_heads_of_columns_are_found_whatever_their_capitals() -> None:
    assert texts(b"ID;Text\n1;one, two\n2;three\n", "a.csv") == ["one, two", "three"]
    assert texts(b"no head\nsecond; line\n", "a.csv") == ["no head", "second; line"]


def workbook(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet().append(["another sheet"])
    book.save(file := io.BytesIO())
    return file.getvalue()


def changed(raw: bytes, parts: Mapping[str, str | Callable[[str], str]]) -> bytes:
    """Return a workbook with other parts."""
    with zipfile.ZipFile(io.BytesIO(raw)) as given:
        contents = {name: given.read(name).decode() for name in given.namelist()}
    for name, part in parts.items():
        contents[name] = part if isinstance(part, str) else part(contents[name])
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in contents.items():
            made.writestr(name, content)
    return file.getvalue()


def sheet(rows: str, before: str = "") -> str:
    return f'{before}<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def test_the_first_sheet_of_a_workbook_is_read() -> None:
    raw = workbook(
        ["编号", "正文"], [1, "  one "], [], [2, 3.0], [3, "=A2+1"], [4, "four", "beside"]
    )
    assert texts(raw, "a.xlsx") == ["one", "3", "four"]
    # A formula is the value that was saved with it, and no one computes it here.
    cached = changed(raw, {SHEET: lambda xml: xml.replace("<v />", "<v>2</v>")})
    assert texts(cached, "a.xlsx") == ["one", "3", "2", "four"]
    first = read_documents(raw, "a.xlsx")[0]
    assert first.given == {"编号": "1", "正文": "one"}
    with pytest.raises(InputError, match=r"a\.xlsx, line 1: no column .* \(there are: a, b\)"):
        read_documents(workbook(["a", "b"], [1, "x"]), "a.xlsx")


def test_strings_that_excel_keeps_in_a_part_of_their_own_are_read() -> None:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
    relation = f'<Relationship Id="s" Type="{kind}" Target="sharedStrings.xml"/></Relationships>'
    raw = changed(
        workbook(["text"]),
        {
            STRINGS: f'<sst xmlns="{MAIN}"><si><t>text</t></si><si><r><t>ri</t></r>'
            "<r><t>ch</t></r></si></sst>",
            "xl/_rels/workbook.xml.rels": lambda xml: xml.replace("</Relationships>", relation),
            SHEET: sheet('<row><c t="s"><v>0</v></c></row><row><c t="s"><v>1</v></c></row>'),
        },
    )
    assert texts(raw, "a.xlsx") == ["rich"]


ENTITY = '<row><c t="inlineStr"><is><t>&a;</t></is></c></row>'


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({SHEET: sheet("<row/>" * 3_000_000)}, "unpacked"),
        ({SHEET: sheet("<row><c><v>1</v></c></row>" * 200_000)}, "unpacked"),
        ({SHEET: sheet('<row r="900000"><c><v>1</v></c></row>')}, "unpacked"),
        ({SHEET: sheet('<row r="99999999999"><c r="A99999999999"><v>1</v></c></row>')}, None),
        ({SHEET: sheet(ENTITY, '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>')}, "workbook"),
        (
            {SHEET: sheet(ENTITY, '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>')},
            "workbook",
        ),
        (
            {"xl/workbook.xml": f"<!DOCTYPE x [<!ENTITY a 'b'>]><workbook xmlns='{MAIN}'/>"},
            "workbook",
        ),
        (
            {"xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{"<xf/>" * 300_000}</styleSheet>'},
            "unpacked",
        ),
        ({"xl/theme/theme1.xml": "<a>" * 9_000_000}, None),
        ({SHEET: "no XML"}, "workbook"),
        ({"xl/workbook.xml": sheet("")}, "workbook"),
    ],
    ids=[
        "rows",
        "tags",
        "far",
        "farther",
        "entity",
        "file",
        "head",
        "styles",
        "theme",
        "bad",
        "none",
    ],
)
def test_a_workbook_that_means_harm_costs_little(
    parts: dict[str, str], problem: str | None
) -> None:
    """Parts that are too large are not unpacked, others that are not needed are not looked at."""
    raw = changed(workbook(["text"], ["fine"]), parts)
    assert len(raw) < 100_000
    if problem is None:
        assert texts(raw, "a.xlsx") in (["fine"], [])
    else:
        with pytest.raises(InputError, match=r"^a\.xlsx: ") as caught:
            read_documents(raw, "a.xlsx")
        assert caught.value.problem == problem


def test_a_size_in_the_head_of_a_part_is_not_believed() -> None:
    """The head says that a part is small; what is unpacked is counted."""
    raw = bytearray(changed(workbook(["text"]), {SHEET: sheet("<row/>" * 3_000_000)}))
    size = len(sheet("<row/>" * 3_000_000)).to_bytes(4, "little")
    assert raw.count(size) == 2
    with pytest.raises(InputError, match=r"^a\.xlsx: "):
        read_documents(bytes(raw).replace(size, (1000).to_bytes(4, "little")), "a.xlsx")
    with pytest.raises(InputError, match=r"not a workbook that can be read \(BadZipFile\)"):
        read_documents(b"PK\3\4, and no more", "a.xlsx")


def test_no_file_of_this_machine_is_an_image_of_an_upload() -> None:
    """Nor is an address: what a page is given names no images, unless whoever reads it says so."""
    with pytest.raises(InputError, match="no field document"):
        read_documents(b'{"image": "/etc/chart.png"}', "a.jsonl")
    (document,) = read_documents(b'{"text": "fine", "image": "/etc/chart.png"}', "a.jsonl")
    assert document.judged == "fine"
