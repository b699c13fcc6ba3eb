"""Imports point one way, and MPI stays where it belongs."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pipshpc"

# A module imports from the layers above its own, and within its layer without
# cycles. A package (source) counts as one module.
LAYERS = (
    {"errors", "cache"},
    {"walltime"},
    {
        "amount",
        "calendar",
        "schema",
        "grid",
        "polar",
        "sourcegrid",
        "product",
        "edges",
        "forcing",
        "sun",
        "statics",
        "fetch",
    },
    {"site"},
    {"stack"},
    {"storage"},
    {"offer", "task", "campaign", "recipe", "sampling", "timeline", "plan"},
    # The catalogue item is the last act of the ranks, and tells the driver what is done.
    {
        "domain",
        "exchange",
        "ledger",
        "source",
        "kernel",
        "place",
        "chain",
        "brdf",
        "atmosphere",
        "sixs",
        "seaice",
        "icesheet",
        "tiepoints",
        "granule",
        "classify",
        "inputs",
        "passes",
        "firstpass",
        "timed",
        "prose",
        "productdoc",
        "dataset",
        "digest",
        "encode",
        "axes",
        "store",
        "catalogue",
        "record",
        "notes",
        "survey",
        "work",
        "run",
    },
    {"inventory"},
    {"slurm"},
    {"drive"},
    {"coast", "quicklook", "probe", "findings", "doctor", "lab"},
    {"view"},
    {"commands", "cli"},
)
MPI_ALLOWED = {"domain", "exchange", "store", "work", "run", "probe"}


def modules():
    """Return {module: [files]}; the package itself is left out, it only passes `compute` on."""
    found = {p.stem: [p] for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")}
    found |= {p.parent.name: sorted(p.parent.glob("**/*.py")) for p in PACKAGE.glob("*/__init__.py")}
    return found


def imports(path):
    """Yield (module, line, whether at the top of the file) for each import of a file, those in functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset == 0
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [node.module] if node.module != "pipshpc" else [f"pipshpc.{alias.name}" for alias in node.names]
        for name in names:
            yield name, node.lineno, id(node) in top


def own_imports(files, inside=True):
    """Yield (module, place) of the imports from pipshpc; without `inside`, only those at the top of a file."""
    for path in files:
        for name, line, top in imports(path):
            if name.startswith("pipshpc.") and (top or inside):
                yield name.split(".")[1], f"{path.name}:{line}"


LAYER = {module: depth for depth, layer in enumerate(LAYERS) for module in layer}
MODULES = modules()


def test_every_module_has_a_layer():
    missing = MODULES.keys() - LAYER.keys()
    assert not missing, f"say in LAYERS where these belong: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_lies_before_it(module):
    wrong = [
        f"{where} imports {other}"
        for other, where in own_imports(MODULES[module])
        if other in MODULES and LAYER.get(other, 0) > LAYER.get(module, 0)
    ]
    assert not wrong, f"{module}: {'; '.join(wrong)}"


def test_there_are_no_cycles():
    graph = {
        m: {o for o, _ in own_imports(files, inside=False) if o in MODULES and o != m} for m, files in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")))
def test_there_are_no_cycles_within_a_package(package):
    files = {p.stem: p for p in (PACKAGE / package).glob("*.py")}
    start = f"pipshpc.{package}."
    graph = {
        stem: {name.removeprefix(start) for name, _, top in imports(path) if top and name.startswith(start)}
        & files.keys()
        for stem, path in files.items()
    }
    TopologicalSorter({stem: others - {stem} for stem, others in graph.items()}).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_mpi_is_started_only_where_ranks_run(module):
    for path in MODULES[module]:
        for name, line, top in imports(path):
            if name.split(".")[0] == "mpi4py":
                assert module in MPI_ALLOWED, f"{path.name}:{line}: a login node would start MPI"
                assert not top, f"{path.name}:{line}: import mpi4py inside the function that needs it"
