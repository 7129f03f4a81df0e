"""Texts and tables of the page. All text from data goes through `text`, which escapes it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from qwen3_rerank.evaluation.significance import Estimate

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


def text(value: object, most: int | None = None) -> str:
    """Return a text as HTML shows it, and never as HTML; cut after ``most`` characters.

    >>> text("<script>alert('x')</script> & more")
    '&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more'
    >>> text("a  long\\ntext", 6)
    'a long…'
    """
    whole = _CONTROLS.sub("\ufffd", str(value))
    if most is not None:
        whole = " ".join(whole.split())
        whole = whole if len(whole) <= most else whole[:most].rstrip() + "…"
    return html.escape(whole)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of HTML: heads, and rows whose first value names them.

    A value is a cell, or what one contains. A cell knows its head, which narrow pages show.
    """
    heads = "".join(f"<th>{title}</th>" for title in head)
    body = "".join(
        "<tr>"
        + "".join(
            _as_cell(value, place).replace("<td", f'<td data-head="{title}"', 1)
            for place, (title, value) in enumerate(zip(head, row, strict=True))
        )
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>"
    )


def _as_cell(value: str, place: int) -> str:
    return value if value.startswith("<td") else cell(value, "" if place else "text")


def cell(value: str, kind: str = "") -> str:
    """Return a cell of HTML."""
    return f'<td class="{kind}">{value}</td>' if kind else f"<td>{value}</td>"


def named(letter: str, name: str) -> str:
    """Return the letter of a system in front of its name."""
    return f'<span class="letter">{letter}</span>{text(name)}'


def images(*captioned: tuple[str, str]) -> str:
    """Return plots beside each other, each an address with its caption."""
    figures = "\n".join(
        f'<figure><img alt="{text(caption)}" src="{image}"><figcaption>{text(caption)}'
        "</figcaption></figure>"
        for image, caption in captioned
    )
    return f'<div class="plots">\n{figures}\n</div>'


def p_value(p: float) -> str:
    """Return a p-value as the page has it.

    >>> p_value(0.0002), p_value(0.0312)
    ('&lt; 0.001', '0.031')
    """
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign.

    >>> signed(0.0312), signed(-0.2), signed(-0.00001)
    ('+0.031', '−0.200', '0.000')
    """
    shown = f"{abs(value):.3f}"
    return shown if float(shown) == 0.0 else ("+" if value > 0 else "−") + shown


def interval(low: str, high: str, between: str = "–") -> str:
    """Return an interval in small letters, which may break in the middle."""
    return f"<small>{low}{between}<wbr>{high}</small>"


def figure(estimate: Estimate) -> str:
    """Return a mean with its interval."""
    return f"{estimate.mean:.3f}{interval(f'{estimate.low:.3f}', f'{estimate.high:.3f}')}"


def change_cell(change: Estimate) -> str:
    """Return the cell of a difference with its interval, coloured by its sign."""
    kind = "up" if change.mean > 0 else "down" if change.mean < 0 else ""
    bounds = interval(signed(change.low), signed(change.high), " to ")
    return cell(signed(change.mean) + bounds, kind)
