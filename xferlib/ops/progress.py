"""Bars for work that takes long."""

from tqdm import tqdm as terminal_bar
from tqdm.auto import tqdm

PATIENCE = 2.0
"""Seconds before a terminal shows a bar that nobody asked for."""


def bar(total: int, unit: str, progress: bool | None = None) -> tqdm:
    """
    Make a bar, which goes away when it is closed.

    Parameters
    ----------
    total : int
        Of how much there is to do.
    unit : str
        Its unit, such as "tile".
    progress : bool or None
        Whether to show it; None for: only in a terminal, and only where the work takes more than two seconds.

    Returns
    -------
    tqdm
        The bar, to be used as a context; ``update(n)`` says that n more are done.
    """
    many = total >= 10_000
    common = {"total": total, "unit": unit, "unit_scale": many, "leave": False}
    if progress is None:  # tqdm's bar of a notebook does not know disable=None: if this is no terminal
        return terminal_bar(**common, disable=None, delay=PATIENCE)
    return tqdm(**common, disable=not progress)
