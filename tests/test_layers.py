"""The tree is the architecture: imports point downward, in no circle, and libraries stay behind."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import estep_xp

PACKAGE = Path(estep_xp.__file__).parent
# From the ground up; what stands on one line may not import each other's modules, but for the page
# and the command line, which share what reads and writes.
LAYERS = ("arrays", "execution", "families", "structures", "verbs", "em", "files", "faces")
FACES = ("", "__main__", "cli", "calculator", "jax", "sklearn")
STRUCTURES = ("mixture", "chain")  # which do not know each other


def modules() -> dict[str, Path]:
    """All modules by their names below the package; "" is the package itself."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        *folders, name = path.relative_to(PACKAGE).with_suffix("").parts
        paths[".".join(folders if name == "__init__" else [*folders, name])] = path
    return paths


MODULES = modules()


def imported(path: Path) -> set[tuple[str, int]]:
    """What a module imports, also for types alone, by full name and line."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found |= {(f"{node.module}.{alias.name}", node.lineno) for alias in node.names}
    return found


def own(name: str) -> str | None:
    """The module below the package that an import names; None for another package's."""
    parts = name.split(".")
    if parts[0] != "estep_xp":
        return None
    inner = ".".join(parts[1:])
    while inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner


def layer_of(module: str) -> str:
    folder = module.partition(".")[0]
    if folder in STRUCTURES:
        return "structures"
    return "faces" if folder in FACES else folder


EDGES = [
    (module, found, line)
    for module, path in MODULES.items()
    for name, line in sorted(imported(path))
    if (found := own(name)) is not None
]


def test_every_module_belongs_to_a_layer():
    assert {layer_of(module) for module in MODULES} == set(LAYERS)


def test_imports_point_downward():
    upward = [
        f"{module}:{line} imports {found}"
        for module, found, line in EDGES
        if LAYERS.index(layer_of(found)) > LAYERS.index(layer_of(module))
    ]
    assert upward == []


def test_structures_do_not_know_each_other():
    across = [
        f"{module}:{line} imports {found}"
        for module, found, line in EDGES
        if module.partition(".")[0] in STRUCTURES
        and found.partition(".")[0] in STRUCTURES
        and module.partition(".")[0] != found.partition(".")[0]
    ]
    assert across == []


def test_imports_make_no_circle():
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, found, _ in EDGES:
        if found != module:
            graph[module].add(found)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("library", "places"),
    {
        "jax": ("execution.jax", "jax"),
        "dask": ("execution.dask",),
        "torch": (),
        "array_api_compat": ("arrays.namespace", "arrays.kinds"),
        "jaxtyping": ("arrays.shapes",),
        "sklearn": ("sklearn",),
        "threadpoolctl": ("execution.numpy.blas",),
        "rich": ("em.progress", "cli"),
        "typer": ("cli",),
        "starlette": ("calculator",),
    }.items(),
)
def test_a_library_is_imported_in_its_place_alone(library, places):
    elsewhere = [
        f"{module}:{line}"
        for module, path in MODULES.items()
        for name, line in imported(path)
        if name.split(".")[0] == library
        and not any(module == place or module.startswith(f"{place}.") for place in places)
    ]
    assert elsewhere == []


def test_only_drivers_and_the_ground_floor_tell_libraries_apart():
    """What a library needs of its own is a method or a plain fact of its driver."""
    names = {"numpy", "jax", "torch", "dask", "array_api_strict"}
    places = ("arrays", "execution", "families.gaussian.strategy")
    elsewhere = [
        f"{module}:{node.lineno} says {node.value!r}"
        for module, path in MODULES.items()
        if layer_of(module) != "faces" and not module.startswith(places)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert elsewhere == []


def test_shapes_are_imported_for_type_checkers_alone():
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        tree.body = [node for node in tree.body if not _is_for_type_checkers(node)]
        names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert "estep_xp.arrays.shapes" not in names, module


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_only_the_gaussian_folder_and_its_exports_know_gaussians():
    allowed = ("families.gaussian", "families")
    elsewhere = [
        f"{module}:{line} imports {found}"
        for module, found, line in EDGES
        if found.startswith("families.gaussian")
        and not (module in allowed or module.startswith("families.gaussian"))
    ]
    assert elsewhere == []


def test_no_file_is_longer_than_a_newcomer_reads():
    tests = Path(__file__).parent
    files = [*PACKAGE.rglob("*.py"), *tests.rglob("*.py")]
    long = {str(path): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
