"""The ledger: every claim of the executed chapters in one table, put into claims.md."""

from html import escape
from itertools import groupby
from pathlib import Path

from tools import notebooks
from xferlib.claims import Claim, collect

MARK = "<!-- the ledger -->"
HEADINGS = ("Claim and source", "Paper", "Ours", "Verdict")


def title(notebook_path: Path) -> str:
    """Take a chapter's title from its first heading."""
    for cell in notebooks.read(notebook_path).cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line[2:].strip()
    raise ValueError(f"{notebook_path.name} has no title: its first heading should start with '# '")


def _row(page: str, claim: Claim) -> str:
    link = f'<a href="{page}.html#{claim.anchor}">{escape(claim.statement)}</a>'
    verdict = '<span class="yes">✓ holds</span>' if claim.holds else '<span class="no">✗ does not hold</span>'
    how = f"recipe <code>{escape(claim.recipe)}</code>" if claim.recipe else "live"
    return (
        f"<tr><td>{link}<small>{escape(claim.source)}</small></td><td>{escape(claim.paper)}</td>"
        f"<td>{escape(claim.ours)}</td><td>{verdict}<small>{how}</small></td></tr>"
    )


def table(page: str, claims: list[Claim]) -> str:
    """Write one chapter's claims as an HTML table; each claim links to its place in the chapter."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    rows = "\n".join(_row(page, claim) for claim in claims)
    return (
        '<div class="pst-scrollable-table-container"><table class="table ledger">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def summary(claims: list[Claim]) -> str:
    """Count the claims by verdict and by how they were measured."""
    holding, by_recipe = (sum(map(bool, flags)) for flags in zip(*((c.holds, c.recipe) for c in claims), strict=True))
    return (
        f"**{len(claims)} claims:** {holding} found to hold, {len(claims) - holding} found not to; "
        f"{len(claims) - by_recipe} measured live, {by_recipe} by a recipe."
    )


def page(template: str, executed: list[Path]) -> str:
    """Put the tables of all executed chapters in place of the mark in the page's template."""
    if MARK not in template:
        raise ValueError(f"claims.md has lost the line that the ledger replaces: {MARK}")
    claims = collect(*executed)
    if not claims:
        return template.replace(MARK, "No chapter has claims yet.")
    titles = {path.stem: title(path) for path in executed}
    parts = [summary(claims)]
    for name, group in groupby(claims, key=lambda claim: claim.notebook):
        parts += [f"## [{titles[name]}](chapters/{name}.ipynb)", table(f"chapters/{name}", list(group))]
    return template.replace(MARK, "\n\n".join(parts))
