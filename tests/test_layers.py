"""Imports go one way down the list of rooms; the core stays pure; what judges a proof does without the native library.

Everything is read from the source (ast), so that an import inside a function or under TYPE_CHECKING counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = (
    "_native", "moves", "light", "rules", "evm", "validator", "coordinator", "fraudproof", "conformance", "wallet",
    "node", "cli",
)  # fmt: skip
"""A room may import itself and those before it; manaflow.errors is free to all."""

WITHOUT_NATIVE = (
    "manaflow.errors",
    "manaflow.moves",
    "manaflow.light",
    "manaflow.rules",
    "manaflow.evm.executor",
    "manaflow.evm.validity",
    "manaflow.evm.pyevm",
    "manaflow.evm.environment",
    "manaflow.evm.isolated",
    "manaflow.fraudproof",
)
"""Whoever verifies a fraud proof needs only these, so they must never reach manaflow._native."""

CORE_ROOMS = ("moves", "light", "rules", "evm", "validator", "coordinator", "fraudproof")
EXCUSED = {
    "manaflow.validator.store": {"threading"},  # one writer at a time, and readers that a growing map waits for
    "manaflow.validator.kernels": {"threading"},  # numba's simplest layer runs one parallel kernel at a time
    "manaflow.validator.shape": {"secrets"},  # a node's own hash keys, drawn once when its index is made
}
"""What single modules of the core may import all the same; conformance, wallet, node and cli are shells as a whole."""

IMPURE = {
    "asyncio", "concurrent", "datetime", "http", "importlib", "logging", "multiprocessing", "random", "secrets",
    "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time", "urllib", "uuid",
}  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """Every module under root/manaflow by its dotted name."""
    found = {}
    for path in sorted((root / "manaflow").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(name: str, path: Path) -> set[str]:
    """What a module's import statements name, absolute; `from a import b` names a and a.b."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            names.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return names


def with_packages(names: Iterable[str]) -> set[str]:
    """The names and the packages around them: importing a.b.c runs a and a.b first."""
    return {".".join(parts[: i + 1]) for parts in (n.split(".") for n in names) for i in range(len(parts))}


def import_graph(root: Path) -> dict[str, set[str]]:
    """For every module, the names it imports, packages included."""
    return {name: with_packages(imported_names(name, path)) for name, path in modules(root).items()}


def room_of(name: str) -> str | None:
    """The room of a dotted name; None for errors, the package itself, and names outside manaflow."""
    parts = name.split(".")
    return parts[1] if parts[0] == "manaflow" and len(parts) > 1 and parts[1] != "errors" else None


def upward_imports(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up the list of rooms, and modules that live in no room."""
    found = []
    for name, imports in graph.items():
        room = room_of(name)
        if room is not None and room not in ROOMS:
            found.append(f"{name} is in no room")
            continue
        rank = ROOMS.index(room) if room else -1
        targets = sorted(t for t in imports if room_of(t) in ROOMS)
        found += [f"{name} imports {t}" for t in targets if ROOMS.index(room_of(t) or "") > rank]
    return found


def native_reached(graph: dict[str, set[str]]) -> list[str]:
    """Chains of imports from a module that must do without it to manaflow._native."""
    found = []
    for start in (n for n in graph if any(n == w or n.startswith(w + ".") for w in WITHOUT_NATIVE)):
        queue, seen = [[start]], {start}
        while queue:
            chain = queue.pop(0)
            for target in sorted(graph[chain[-1]] | with_packages([chain[-1]])):
                if target == "manaflow._native":
                    found.append(" -> ".join([*chain, target]))
                elif target in graph and target not in seen:
                    seen.add(target)
                    queue.append([*chain, target])
    return found


def impure_imports(graph: dict[str, set[str]]) -> list[str]:
    """Imports of clocks, randomness, sockets, threads and logging in the core."""
    core = (n for n in graph if room_of(n) in CORE_ROOMS)
    return [f"{n} imports {t}" for n in core for t in sorted(graph[n] & IMPURE - EXCUSED.get(n, set()))]


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT)


def test_imports_go_one_way(graph: dict[str, set[str]]) -> None:
    assert upward_imports(graph) == []


def test_proofs_are_judged_without_the_native_library(graph: dict[str, set[str]]) -> None:
    assert native_reached(graph) == []


def test_the_core_has_no_clock_randomness_socket_or_log(graph: dict[str, set[str]]) -> None:
    assert impure_imports(graph) == []


def test_every_named_module_exists(graph: dict[str, set[str]]) -> None:
    """A renamed module must not slip out of the lists above."""
    assert [name for name in (*WITHOUT_NATIVE, *EXCUSED) if name not in graph] == []


PLANTED = {
    "upward": ("manaflow/moves/marks.py", "def f():\n    from manaflow.validator import store\n", upward_imports),
    "relative": ("manaflow/moves/marks.py", "from ..rules import config\n", upward_imports),
    "native below": ("manaflow/rules/config.py", "import manaflow.evm.revm\n", native_reached),
    "native direct": ("manaflow/fraudproof/verify.py", "from manaflow import _native\n", native_reached),
    "native by package": ("manaflow/evm/__init__.py", "from manaflow._native import run\n", native_reached),
    "clock": ("manaflow/validator/checks.py", "import time\n", impure_imports),
    "not excused": ("manaflow/validator/store.py", "import secrets\n", impure_imports),
    "submodule": ("manaflow/coordinator/seal.py", "from concurrent.futures import Executor\n", impure_imports),
    "no room": ("manaflow/manager.py", "", upward_imports),
    "room in errors": ("manaflow/errors.py", "import manaflow.moves.marks\n", upward_imports),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, planted: str) -> None:
    tree = {
        "manaflow/__init__.py": "",
        "manaflow/errors.py": "",
        "manaflow/moves/__init__.py": "",
        "manaflow/moves/marks.py": "from manaflow.errors import Rule\n",
        "manaflow/rules/__init__.py": "",
        "manaflow/rules/config.py": "from manaflow.moves.marks import Mark\nfrom ..errors import Rule\n",
        "manaflow/evm/__init__.py": "",
        "manaflow/evm/revm.py": "from manaflow import _native\n",
        "manaflow/evm/pyevm.py": "import eth\nfrom manaflow.rules import config\n",
        "manaflow/validator/__init__.py": "",
        "manaflow/validator/checks.py": "from manaflow.evm.revm import run\n",
        "manaflow/validator/store.py": "import threading\n",
        "manaflow/coordinator/__init__.py": "",
        "manaflow/coordinator/seal.py": "from manaflow.validator import checks\n",
        "manaflow/fraudproof/__init__.py": "",
        "manaflow/fraudproof/verify.py": "import manaflow.evm.pyevm\n",
        "manaflow/cli/__init__.py": "import time\nimport manaflow.validator.store\n",
    }

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    for path, text in tree.items():
        write(path, text)
    checks = (upward_imports, native_reached, impure_imports)
    assert [check(import_graph(tmp_path)) for check in checks] == [[], [], []]
    path, text, check = PLANTED[planted]
    write(path, tree.get(path, "") + text)
    assert check(import_graph(tmp_path))
