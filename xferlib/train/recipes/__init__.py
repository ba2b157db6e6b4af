"""
The recipes of the shipped nets, one module a net or family of nets.

The recipe "fcn8s-camvid" is ``RECIPE`` in ``fcn8s_camvid.py``; a family puts several into one module's tuple
``RECIPES``. Modules are imported when they are looked into.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from xferlib.train.recipe import Recipe, RecipeError


def every() -> Iterator[Recipe]:
    """
    Go through all recipes.

    Yields
    ------
    Recipe
        The recipes of each module, modules in alphabetical order.
    """
    for name in sorted(module.name for module in iter_modules(__path__)):
        if not name.startswith("_"):
            yield from _recipes(name)


def find(name: str) -> Recipe:
    """
    Look a recipe up.

    Parameters
    ----------
    name : str
        Name of the recipe, such as "fcn8s-camvid".

    Returns
    -------
    Recipe
        The recipe of that name.

    Raises
    ------
    RecipeError
        If there is none.
    """
    module = name.replace("-", "_")
    likely = _recipes(module) if module in {found.name for found in iter_modules(__path__)} else ()
    for recipe in likely:
        if recipe.name == name:
            return recipe
    known = {recipe.name: recipe for recipe in every()}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise RecipeError(f"no recipe is named {name!r}; {hint}there are: {', '.join(known) or 'none yet'}")


def _recipes(module: str) -> tuple[Recipe, ...]:
    found = import_module(f"{__name__}.{module}")
    return found.RECIPES if hasattr(found, "RECIPES") else (found.RECIPE,)
