"""The house: what installs, what imports what, what is documented, what the pages list."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from numpydoc.validate import validate
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import xferlib
from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Not asked for: examples, see also, extended summary, and the layout of the quotes.
IGNORED = {"EX01", "SA01", "ES01", "GL01", "GL02", "GL03", "RT02", "YD01", "SS06"}


def requirements(text: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


REQUIRED = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
PINNED = requirements((ROOT / "constraints.txt").read_text(encoding="utf-8"))


# What installs


def test_the_library_needs_a_part_of_what_the_book_needs():
    library = requirements("\n".join(PYPROJECT["project"]["dependencies"]))
    assert library.items() <= REQUIRED.items()


def test_requirements_are_ranges_and_constraints_are_exact():
    assert all("==" not in str(requirement.specifier) for requirement in REQUIRED.values())
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in PINNED.values())


def test_the_tested_set_lies_within_the_ranges():
    for name, requirement in REQUIRED.items():
        version = str(PINNED[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but {PINNED[name]}"


def test_the_tested_set_is_complete():
    queue, seen = list(REQUIRED), set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(canonicalize_name(requirement.name))
    ours = {name for name in seen if not name.startswith(("nvidia", "cuda", "triton"))}
    assert ours - {"setuptools", "pip", "wheel"} <= PINNED.keys()


def test_the_tested_set_installs_on_any_python_that_the_book_admits():
    oldest = PYPROJECT["project"]["requires-python"].removeprefix(">=") + ".0"
    asked = {name: metadata.metadata(name).get("Requires-Python") for name in PINNED if installed(name)}
    assert asked
    assert [name for name, python in asked.items() if python and not SpecifierSet(python).contains(oldest)] == []


def installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def test_torchvision_imports_after_xferlib():
    code = "import xferlib; from torchvision import datasets, models, transforms, utils; print('fine')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "fine", result.stderr


# What imports what


def test_imports_point_down():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


# What is documented


def public_modules() -> list[str]:
    found = [info.name for info in pkgutil.walk_packages(xferlib.__path__, "xferlib.")]
    return ["xferlib", *(name for name in found if not any(part.startswith("_") for part in name.split(".")))]


def public_objects() -> list[str]:
    """Name every public function, class, method and property, where it is defined."""
    names = []
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module_name:
                continue
            if inspect.isfunction(value):
                names.append(f"{module_name}.{name}")
            elif inspect.isclass(value):
                names.append(f"{module_name}.{name}")
                names += [f"{module_name}.{name}.{member}" for member in public_members(value)]
    return names


def public_members(cls: type) -> list[str]:
    # A net's forward is described by its class.
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and name != "forward"
        and isinstance(value, property | classmethod | staticmethod) | inspect.isfunction(value)
    ]


def resolve(name: str):
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        if ".".join(parts[:cut]) in sys.modules:
            value = sys.modules[".".join(parts[:cut])]
            for part in parts[cut:]:
                value = inspect.getattr_static(value, part)
            return value
    raise LookupError(name)


@pytest.mark.parametrize("name", public_modules())
def test_modules_say_what_they_are(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.filterwarnings("ignore:Widget\\..* is deprecated:DeprecationWarning")  # numpydoc looks there
@pytest.mark.parametrize("name", public_objects())
def test_docstrings(name):
    ignored = IGNORED | ({"PR01", "RT01"} if isinstance(resolve(name), property) else set())
    errors = [f"{code} {text}" for code, text in validate(name)["errors"] if code not in ignored]
    assert not errors, f"{name}: {errors}"


@pytest.mark.parametrize("name", public_objects())
def test_types(name):
    value = resolve(name)
    function = value.__init__ if inspect.isclass(value) else getattr(value, "__func__", value)
    if not inspect.isfunction(function):
        return
    signature = inspect.signature(function)
    untyped = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    assert not untyped, f"{name} has no types for {untyped}"
    assert inspect.isclass(value) or signature.return_annotation is not signature.empty, f"{name} returns what?"


# What the pages list


def test_contents_list_files_that_exist():
    for page in notebooks.toc_pages():
        assert (ROOT / f"{page}.md").exists() or (ROOT / f"{page}.ipynb").exists(), page


def test_the_landing_page_links_each_chapter_and_promises_no_finished_one():
    text = (ROOT / "intro.md").read_text(encoding="utf-8")
    linked = set(re.findall(r":link: (chapters/\w+)", text))
    assert linked == {page for page in notebooks.toc_pages() if page.startswith("chapters/")}
    assert "in preparation" not in text


def test_the_makefile_has_the_commands_and_the_documents_name_no_other():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert targets == {"book", "site", "serve", "lab", "test", "bench", "chapters", "clean", "help"}
    for name in ("README.md", "CONTRIBUTING.md", "intro.md"):
        named = re.findall(r"(?:^|`)make ([a-z]+)\b", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert named and set(named) <= targets, name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_documents_link_files_that_exist(name):
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / link).exists(), link
