"""Claims of the text, measured: `check` shows one and judges it, `collect` reads them back for the ledger."""

import html
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

MIME = "application/vnd.xferlib.claim+json"
"""Key under which a claim's record stands in the metadata of its output.

In the metadata and not among the output's mime types: nbval compares the latter without sanitising JSON, and
MyST-NB warns of each mime type it does not know.
"""

_ID = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")
_made: dict[str, "Claim"] = {}


class ClaimFailed(AssertionError):
    """A claim turned out otherwise than the text says."""


@dataclass(frozen=True)
class Claim:
    """
    One claim and what we found.

    Parameters
    ----------
    id : str
        Short name, unique in the book, such as ``"fcn-skips"``.
    statement : str
        What is claimed, in one sentence.
    source : str
        Where it comes from, down to the table or section.
    paper : str
        The paper's figure.
    ours : str
        Our figure; numbers that another machine may move stand behind ``≈``.
    holds : bool
        Whether we find it to hold.
    expected : bool
        Whether the text says that it holds here.
    recipe : str or None
        The command whose recorded figures were judged, such as "xferlib train sr-weave"; None where the chapter itself
        measured.
    notebook : str
        Stem of the notebook the claim was read from; empty until `collect` fills it.
    """

    id: str
    statement: str
    source: str
    paper: str
    ours: str
    holds: bool
    expected: bool = True
    recipe: str | None = None
    notebook: str = ""

    @property
    def anchor(self) -> str:
        """Name of the claim's place in its page, for links."""
        return f"claim-{self.id}"

    @property
    def verdict(self) -> str:
        """The finding in words."""
        if self.holds == self.expected:
            return "holds" if self.holds else "does not hold here, as the text says"
        return "holds, though the text says it does not" if self.holds else "does not hold"

    def __str__(self) -> str:
        """Give the claim as one line."""
        figures = f"paper: {self.paper}; ours: {self.ours}"
        return f"{_mark(self)} {self.id}: {self.statement} [{self.source}] {figures}; {self.verdict}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        record = {name: value for name, value in asdict(self).items() if name != "notebook"}
        return {"text/html": _card(self), "text/plain": str(self)}, {MIME: record}


def check(
    id: str,
    statement: str,
    source: str,
    paper: str,
    ours: str,
    holds: bool,
    expected: bool = True,
    recipe: str | None = None,
) -> None:
    """
    Show one claim beside what we measured, and fail when it turns out otherwise than the text says.

    Parameters
    ----------
    id : str
        Short name, unique in the book: lower case letters and digits, joined by ``-``, ``.`` or ``_``.
    statement : str
        What is claimed, in one sentence.
    source : str
        Where it comes from, down to the table or section.
    paper : str
        The paper's figure.
    ours : str
        Our figure; write ``≈`` before each number that another machine may move, as in ``"≈0.43"``.
    holds : bool
        Whether our figure bears the claim out.
    expected : bool
        Whether the text says that it holds here; False for a claim that we find not to hold.
    recipe : str or None
        The command whose recorded figures are judged, such as "xferlib train sr-weave"; None where the chapter itself
        measured.

    Raises
    ------
    ClaimFailed
        If ``holds`` differs from ``expected``; the claim is shown first.
    ValueError
        If the id is malformed, or already stands for another statement in this process.
    TypeError
        If one of the texts is not a str.
    """
    texts = {"id": id, "statement": statement, "source": source, "paper": paper, "ours": ours}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}; write it as the reader shall see it, such as '≈0.43'")
    if not _ID.fullmatch(id):
        raise ValueError(f"claim id {id!r} is not lower case words joined by '-', such as 'fcn-skips'")
    if id in _made and _made[id].statement != statement:
        raise ValueError(f"claim id {id!r} already stands for {_made[id].statement!r}; choose another id")
    claim = _made[id] = Claim(**texts, holds=bool(holds), expected=bool(expected), recipe=recipe)
    _show(claim)
    if claim.holds != claim.expected:
        raise ClaimFailed(str(claim))


@dataclass(frozen=True)
class Summary:
    """
    The claims of a chapter, a line each.

    Parameters
    ----------
    claims : tuple of Claim
        The claims, in the order in which they were checked.
    """

    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        """Give the claims as lines of text."""
        return "\n".join(f"{_mark(claim)} {claim.statement} {claim.ours}" for claim in self.claims)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        lines = "".join(
            f'<li><span aria-label="{claim.verdict}">{_mark(claim)}</span> '
            f'<a href="#{claim.anchor}">{html.escape(claim.statement)}</a> {html.escape(claim.ours)}</li>'
            for claim in self.claims
        )
        return {"text/html": f'<ul class="xf-claims">{lines}</ul>', "text/plain": str(self)}


def summary() -> Summary:
    """
    List the claims checked so far in this process.

    Returns
    -------
    Summary
        The claims, a line each; make it the last line of the cell.
    """
    return Summary(tuple(_made.values()))


def collect(*notebooks: str | Path) -> list[Claim]:
    """
    Read the claims that executed notebooks have shown.

    Parameters
    ----------
    *notebooks : str or Path
        The ``.ipynb`` files, with their outputs.

    Returns
    -------
    list of Claim
        In the order of the notebooks and of their cells, with ``notebook`` filled in.

    Raises
    ------
    ValueError
        If a notebook has code that was not executed, or two claims have the same id.
    """
    claims: dict[str, Claim] = {}
    for path in map(Path, notebooks):
        for claim in _claims_of(path):
            if claim.id in claims:
                places = f"{claims[claim.id].notebook} and {claim.notebook}"
                raise ValueError(f"claim id {claim.id!r} is used twice, in {places}; rename one")
            claims[claim.id] = claim
    return list(claims.values())


def _claims_of(path: Path) -> list[Claim]:
    claims = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        if source.strip() and cell.get("execution_count") is None:
            raise ValueError(f"{path} has a cell that was not executed: {source.strip().splitlines()[0]!r}")
        records = (output.get("metadata", {}).get(MIME) for output in cell["outputs"])
        claims += [replace(Claim(**record), notebook=path.stem) for record in records if record]
    return claims


def _mark(claim: Claim) -> str:
    return "✓" if claim.holds else "✗"


def _show(claim: Claim) -> None:
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(claim)
    else:
        ipython.display.display(claim)


def _card(claim: Claim) -> str:
    """Give the claim as HTML that reads well with and without our style sheet."""
    finding = "holds" if claim.holds else "fails"
    how = f"by the recipe <code>{html.escape(claim.recipe)}</code>" if claim.recipe else "in this chapter"
    rows: Mapping[str, str] = {
        "Source": html.escape(claim.source),
        "Paper": html.escape(claim.paper),
        "Ours": f"{html.escape(claim.ours)} <small>measured {how}</small>",
        "Verdict": f"<strong>{_mark(claim)} {claim.verdict}</strong>",
    }
    body = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in rows.items())
    return (
        f'<div class="xf-claim xf-claim-{finding}" id="{claim.anchor}" role="group"'
        f' aria-label="Claim {html.escape(claim.id)}">'
        f'<p class="xf-claim-statement"><strong>Claim.</strong> {html.escape(claim.statement)}</p>'
        f"<dl>{body}</dl></div>"
    )
