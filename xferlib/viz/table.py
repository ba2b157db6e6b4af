"""Tables of results."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """
    A table as a notebook shows it.

    Parameters
    ----------
    header : tuple of str
        Titles of the columns.
    rows : tuple of tuple of str
        The cells, row by row. A column whose cells are all numbers is set to the right.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """Give the table as plain text, without padding: that would move with the numbers."""
        return "\n".join(" | ".join(line) for line in (self.header, *self.rows))

    @property
    def _right(self) -> tuple[bool, ...]:
        return tuple(all(map(_is_number, column)) for column in zip(*self.rows, strict=True))

    def _line(self, cells: Sequence[str], tag: str) -> str:
        def cell(text: str, right: bool) -> str:
            align = ' class="text-right"' if right else ""
            return f"<{tag}{align}>{html.escape(text)}</{tag}>"

        return f"<tr>{''.join(map(cell, cells, self._right))}</tr>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        head = self._line(self.header, "th")
        body = "".join(self._line(row, "td") for row in self.rows)
        page = f'<table class="table xf-table"><thead>{head}</thead><tbody>{body}</tbody></table>'
        return {"text/html": page, "text/plain": str(self)}


def table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> Table:
    """
    Lay results out as a table.

    Parameters
    ----------
    rows : sequence of sequence
        The cells, row by row; each is shown as ``str`` gives it. Write ``≈`` before a number that another machine
        may move.
    header : sequence of str
        Titles of the columns.

    Returns
    -------
    Table
        The table; make it the last line of the cell.

    Raises
    ------
    ValueError
        If there is no row, or a row is not as long as the header.
    """
    if not rows:
        raise ValueError("no row to show")
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"row {list(row)} has {len(row)} cells under {len(header)} titles")
    return Table(tuple(map(str, header)), tuple(tuple(map(str, row)) for row in rows))


def _is_number(text: str) -> bool:
    try:
        float(text.lstrip("≈").replace(",", "").rstrip(" %×"))
    except ValueError:
        return text in ("", "–")
    return True
