"""Bars for work that takes long."""

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
    unasked = progress is None  # for tqdm, disable=None is: if this is no terminal
    disable, delay = (None, PATIENCE) if unasked else (not progress, 0)
    many = total >= 10_000
    return tqdm(total=total, unit=unit, unit_scale=many, leave=False, disable=disable, delay=delay)
