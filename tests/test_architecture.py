"""How the project hangs together: what may import what, and what the page must not wait for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "explorer"
LOGIC = sorted(path for path in PACKAGE.rglob("*.py") if "ui" not in path.relative_to(PACKAGE).parts)
ORDER = ("data", "model", "scoring", "scenes", "train", "compare", "flag", "hub", "ui")
"""The packages as the data flows: each imports what stands before it, never what comes after."""


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", LOGIC, ids=lambda path: path.stem)
def test_logic_never_imports_gradio(path):
    if path.stem == "__main__":
        return
    assert not {name for name in imported(path) if name.split(".")[0] == "gradio" or name.startswith("explorer.ui")}


def test_tabs_never_import_each_other():
    tabs = ("finetune", "compare", "flag")
    for tab in tabs:
        others = {f"explorer.ui.{other}" for other in tabs if other != tab}
        assert not imported(PACKAGE / "ui" / f"{tab}.py") & others


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_before_it(package):
    later = tuple(f"explorer.{name}" for name in ORDER[ORDER.index(package) + 1 :])
    for path in (PACKAGE / package).rglob("*.py"):
        assert not {name for name in imported(path) if name.startswith(later)}, path


def test_modules_that_stand_alone_import_no_package():
    packages = tuple(f"explorer.{name}" for name in ORDER)
    for name in ("errors", "files", "lazy", "machine", "processes", "quotas", "rights", "server", "settings", "space", "workspace"):
        assert not {module for module in imported(PACKAGE / f"{name}.py") if module.startswith(packages)}, name


def test_building_the_page_loads_neither_torch_nor_transformers(tmp_path):
    code = (
        "import sys; from pathlib import Path; from explorer.settings import Settings; from explorer import ui\n"
        f"ui.build(Settings(home=Path({str(tmp_path)!r})))\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'peft', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=120)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr[-800:]


def test_nothing_names_a_registry_or_a_machine():
    hosts = ("pypi." + "org/simple", "python" + "hosted", "registry." + "npmjs")
    for path in [*PACKAGE.rglob("*.py"), PACKAGE.parent / "README.md", PACKAGE.parent / "requirements.txt"]:
        assert not [host for host in hosts if host in path.read_text("utf-8")], path
