"""
The recipes of the shipped nets, one module a net or family of nets.

The recipe "unet-isbi" is ``RECIPE`` in ``unet_isbi.py``; a family puts several into one module's tuple
``RECIPES``, and studies go into ``STUDIES``. Modules are imported when they are looked into.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from xferlib.train.recipe import Recipe, RecipeError
from xferlib.train.study import Study


def every() -> Iterator[Recipe]:
    """
    Go through all recipes.

    Yields
    ------
    Recipe
        The recipes of each module, modules in alphabetical order.
    """
    for name in _modules():
        yield from (found for found in _contents(name) if isinstance(found, Recipe))


def studies() -> Iterator[Study]:
    """
    Go through all studies.

    Yields
    ------
    Study
        The studies of each module, modules in alphabetical order.
    """
    for name in _modules():
        yield from (found for found in _contents(name) if isinstance(found, Study))


def find(name: str) -> Recipe | Study:
    """
    Look a recipe or a study up.

    Parameters
    ----------
    name : str
        Its name, such as "fcn8s-camvid".

    Returns
    -------
    Recipe or Study
        The one of that name.

    Raises
    ------
    RecipeError
        If there is none.
    """
    module = name.replace("-", "_")
    likely = _contents(module) if module in _modules() else ()
    for found in likely:
        if found.name == name:
            return found
    known = {found.name: found for found in (*every(), *studies())}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise RecipeError(f"no recipe is named {name!r}; {hint}there are: {', '.join(known) or 'none yet'}")


def _modules() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def _contents(module: str) -> tuple[Recipe | Study, ...]:
    found = import_module(f"{__name__}.{module}")
    single = (found.RECIPE,) if hasattr(found, "RECIPE") else ()
    return (*single, *getattr(found, "RECIPES", ()), *getattr(found, "STUDIES", ()))
