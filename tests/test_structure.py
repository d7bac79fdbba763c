"""The shape of the code itself: short files and functions, imports that point one way."""

import ast

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "snnconvert").rglob("*.py"))
LAYERS = [  # a file may import from its own row and the rows above
    {"__init__", "errors", "registry", "hardware", "pieces", "randomness", "source_arguments"},
    {"quantizer", "threshold_table", "neurons", "models", "diffusion", "datasets", "recipe",
     "checkpoint", "pictures"},
    {"conversion", "probe"},
    {"loading"},
    {"guidance"},
    {"calibration_data", "sources"},
    {"averaging", "sharding", "outputs", "initial", "tasks"},
    {"generation", "synchronised"},
    {"training_state", "training_result"},
    {"training", "report", "describe", "evaluation"},
    {"cli_conversion"},
    {"cli_sampling"},
    {"cli_evaluation", "cli_moments", "cli_trajectory"},
    {"cli_guidance", "cli_finetune", "cli_report"},
    {"cli", "__main__"},
]  # fmt: skip


def part(module: str) -> str:
    """The first level below the package: "snnconvert.report.cost" -> "report"."""
    return [*module.split("."), "__init__"][1]


def imports(tree: ast.AST) -> set[str]:
    """Modules of the package that are imported when the file is (not inside functions)."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snnconvert"):
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name


def test_imports_point_one_way():
    rank = {name: row for row, names in enumerate(LAYERS) for name in names}
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for imported in imports(ast.parse(path.read_text())):
            assert rank[part(imported)] <= rank[part(module)], (module, imported)


def test_neurons_and_diffusion_never_meet():
    for path in FILES:
        names = {part(m) for m in imports(ast.parse(path.read_text()))}
        if "diffusion" in path.parts:
            assert not names & {"neurons", "conversion"}, path
        if "neurons" in path.parts or "conversion" in path.parts:
            assert "diffusion" not in names, path
