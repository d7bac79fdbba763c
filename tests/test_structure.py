"""The shape of the code itself: short files and functions, imports that point one way."""

import ast
import graphlib

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "snnconvert"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LOOSE = ["errors", "version"]  # at the top of the package, below every folder
DOORS = ["__init__", "__main__"]  # at the top too, above every folder
FOLDERS = [  # a folder may import those above it, never those below
    "common",
    "files",
    "operators",
    "neurons",
    "diffusion",
    "diffusion/steps",
    "diffusion/solvers",
    "diffusion/sampling",
    "images",
    "images/datasets",
    "images/sources",
    "models",
    "models/spiking",
    "conversion/graph",
    "conversion/rules",
    "conversion/execution",
    "conversion/capture",
    "conversion/capture/onnx/steps",
    "conversion/capture/onnx/operations",
    "conversion/capture/onnx/operations/images",
    "conversion/capture/onnx/operations/microsoft",
    "conversion/capture/onnx",
    "conversion/prepare",
    "conversion/spiking/simulation",
    "conversion/spiking",
    "conversion/calibration",
    "conversion/calibration/weights",
    "conversion",
    "checkpoint",
    "generation",
    "training/state",
    "training",
    "report/measures",
    "report/trials",
    "report",
    "report/show",
    "evaluation/metrics",
    "evaluation",
    "exchange/nir",
    "exchange",
    "cli/arguments",
    "cli",
]
STRANGERS = [("neurons", "diffusion"), ("conversion", "diffusion")]  # never import each other
ONE_EACH = {"cli": 23}  # a file a command
MOST_FILES, MOST_LOOSE = 15, 6
MOST_FLOORS = 13  # nine of them are the pipeline inside conversion


def module_of(path):
    """ "snnconvert.models" of snnconvert/models/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_of(path): path for path in FILES}


def folder_of(module: str) -> str:
    """ "conversion/spiking" of snnconvert.conversion.spiking.neuron_nodes, "" at the top."""
    found = str(PATHS[module].parent.relative_to(PACKAGE))
    return "" if found == "." else found


def imports_of(path, top: str = "snnconvert") -> set[str]:
    """Modules below `top` that a file names, for the type checker and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports have the whole name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = inner & set(PATHS)
            found |= submodules
            if submodules != inner:
                found.add(node.module)
    return {name for name in found if name.split(".")[0] == top}


def is_door(importer: str, imported: str) -> bool:
    """Whether a package's `__init__` imports its own sub-folder, to register or re-export it."""
    inside = imported.startswith(f"{importer}.") and PATHS[importer].name == "__init__.py"
    return inside and folder_of(importer) != folder_of(imported)


IMPORTS = {
    module: {name for name in imports_of(path) if name != module and not is_door(module, name)}
    for module, path in PATHS.items()
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name


def test_every_folder_has_its_line():
    folders = {str(path.parent.relative_to(PACKAGE)) for path in FILES} - {"."}
    assert sorted(FOLDERS) == sorted(folders)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_are_small(folder):
    files = list((PACKAGE / folder).glob("*.py"))
    assert PACKAGE / folder / "__init__.py" in files
    assert len(files) <= ONE_EACH.get(folder, MOST_FILES)


def test_few_modules_are_loose():
    loose = sorted(path.stem for path in PACKAGE.glob("*.py"))
    assert loose == sorted(LOOSE + DOORS) and len(loose) <= MOST_LOOSE


@pytest.mark.parametrize("module", PATHS)
def test_imports_point_one_way(module):
    folder = folder_of(module)
    if not folder and PATHS[module].stem in DOORS:
        return
    for imported in IMPORTS[module]:
        above = folder_of(imported)
        if not above:  # errors and version are for all and need nobody
            assert PATHS[imported].stem in LOOSE and folder, (module, imported)
            continue
        assert folder, (module, imported)
        assert FOLDERS.index(above) <= FOLDERS.index(folder), (module, imported)


def test_no_circle_of_modules():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names it


def test_few_floors():
    floors: dict[str, int] = {}
    for folder in FOLDERS:
        below = {
            folder_of(imported)
            for module in PATHS
            if folder_of(module) == folder
            for imported in IMPORTS[module]
        }
        floors[folder] = 1 + max((floors[name] for name in below - {"", folder}), default=0)
    assert max(floors.values()) <= MOST_FLOORS, floors


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_strangers_never_meet(one, other):
    for module, found in IMPORTS.items():
        own = folder_of(module).split("/")[0]
        names = {folder_of(imported).split("/")[0] for imported in found}
        assert not (own == one and other in names), module
        assert not (own == other and one in names), module


def test_tests_lie_where_the_code_lies():
    folders = {str(path.parent.relative_to(ROOT / "tests")) for path in TESTS}
    assert folders - {".", "gpu", "support"} <= set(FOLDERS)


def test_tests_share_by_support_alone():
    for path in TESTS:
        shared = imports_of(path, "tests")
        assert all(name.startswith("tests.support.") for name in shared), (path, shared)
        assert not imports_of(path, "benchmarks"), path


def test_benchmarks_import_no_test():
    for path in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]:
        assert not imports_of(path, "tests"), path


def functions_of(path):
    """Functions of a file, with the names of their parameters and those without a type."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            yield node, {parameter.arg: parameter.annotation for parameter in listed}


def test_command_lines_end_where_the_commands_end():
    """What is parsed stays inside `cli`: Python calls everything below with plain arguments."""
    for module, path in PATHS.items():
        if folder_of(module).split("/")[0] == "cli":
            continue
        names = {
            name.name.split(".")[0] if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom)) for name in node.names
        }  # fmt: skip
        assert "argparse" not in names, module
        for function, parameters in functions_of(path):
            if "args" in parameters:  # a sequence of values, nothing with attributes
                assert parameters["args"] is not None, (module, function.name)
                read = [
                    node for node in ast.walk(function)
                    if isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name) and node.value.id == "args"
                ]  # fmt: skip
                assert not read, (module, function.name)


def test_commands_share_by_their_arguments_alone():
    for module, path in PATHS.items():
        if folder_of(module) == "cli" and path.stem not in ("__init__", "main"):
            found = {name for name in IMPORTS[module] if name.startswith("snnconvert.cli")}
            assert all(folder_of(name) == "cli/arguments" for name in found), (module, found)
