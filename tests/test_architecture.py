"""The laws of the house: which part may know which, and what the C core must not contain."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

from fastgrad._compiler.graph import ELEMENTWISE, INFER
from fastgrad._compiler.rules import PARTIALS, PULLBACKS

ROOT = Path(__file__).parents[1]
CORE = ROOT / "csrc"
PACKAGE = ROOT / "src" / "fastgrad"
C_FILES = sorted([*CORE.glob("*.[ch]"), *CORE.glob("*.def")])

KERNELS = ["kernels", "vec", "elementary", "inverse", "division", "special"] + [
    f"kernel_{part}"
    for part in ("memory", "rows", "fold", "gemm", "along", "linalg", "step", "data", "stencil", "ties")
]

# Every file includes headers of its own floor's part or of lower floors only.
C_FLOORS = [
    ["fastgrad", "ops", "updates"],
    ["status", "alloc", "random"],
    ["pool", "program", "verify"],
    [*KERNELS, "cpu"],
    ["plan", "across", "loop", "groups", "tiles", "grid", "ties"],
    ["machine", "points", "extrapolate", "search", "colour", "weights"],
    ["descent", "iterate", "pass"],
    ["train"],
]
C_SIBLINGS = {  # what a part of a floor may use of its own floor
    "kernels": set(KERNELS),
    "elementary": {"vec", "elementary", "inverse", "division"},
    "special": {"elementary", "special"},
    "cpu": {"kernels"},
    "verify": {"program"},
    "plan": {
        "across",
        "loop",
        "tiles",
    },  # a plan's call may be a loop, whose body is a plan; its groups run tile by tile
    "across": {"plan"},
    "loop": {"plan"},
    "tiles": {"plan"},
    "groups": {"tiles"},
    "fastgrad": {"ops", "updates"},
}

# Likewise for Python, the parts of the package; modules of one floor may import each other, never in a circle.
FLOORS = [
    ["errors", "_core", "_statuses"],
    ["_arrays", "_machine", "_progress"],
    ["schedules", "stencils"],
    ["methods", "_grid"],
    ["_compiler"],
    ["transform"],
    ["_finite"],
    ["matrices"],
    ["functions"],
    ["_explain", "_check", "loops", "_searches", "_levenberg", "_curves", "problem", "results"],
    ["_runs"],
    ["descent"],
    ["fitting", "_multistart"],
    ["_dense"],
    ["network"],
    ["sklearn", "grid", "finite"],
    ["plot"],
    ["__main__"],
    ["__init__"],
]


def code_of(path):
    """C source without comments and strings."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text)


def floor_of(name, floors):
    return next((i for i, floor in enumerate(floors) if name in floor), None)


# ---- C


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_a_c_file_includes_downwards_only(path):
    own = floor_of(path.stem, C_FLOORS)
    assert own is not None, f"give {path.name} a floor in this test"
    for name in re.findall(r'^\s*#include "([^"]+)"', path.read_text(), re.M):
        part = name.rsplit(".", 1)[0]
        floor = floor_of(part, C_FLOORS)
        is_sibling = floor == own and part in C_SIBLINGS.get(path.stem, set()) | {path.stem}
        assert floor < own or is_sibling, f"{path.name} includes {name}"


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_a_c_file_knows_neither_python_nor_the_terminal_nor_an_allocator(path):
    code = code_of(path)
    assert "Python.h" not in path.read_text()
    words = set(re.findall(r"\b(\w+)\s*\(", code))
    forbidden = {"abort", "exit", "_exit", "assert", "printf", "fprintf", "sprintf", "snprintf", "puts", "putchar"}
    forbidden |= {"malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "strdup", "alloca"}
    forbidden |= {"mmap", "system", "getenv", "setlocale", "rand", "longjmp", "gets", "strcpy", "strcat"}
    allowed = {"alloc.c": {"calloc", "malloc", "free", "mmap"}}.get(path.name, set())
    assert not words & (forbidden - allowed)
    assert path.name == "status.c" or "vsnprintf" not in words


def test_every_fallible_function_of_the_header_is_checked():
    header = code_of(CORE / "fastgrad.h")
    fallible = re.findall(r"^(.*)\bfg_status (fg_\w+)\(", header, re.M)
    assert len(fallible) >= 6
    assert [name for before, name in fallible if "FG_CHECKED" not in before] == []


def test_floats_keep_their_meaning_on_every_machine():
    for path in [ROOT / "CMakeLists.txt", ROOT / "pyproject.toml", ROOT / "Makefile", *C_FILES]:
        code = code_of(path) if path.suffix in (".c", ".h") else re.sub(r"#.*", "", path.read_text())
        for flag in ("-ffast-math", "-Ofast", "finite-math-only", "-march=native", "-mtune=native", "fopenmp"):
            assert flag not in code, f"{path.name}: {flag}"
        for word in ("_MM_SET_FLUSH_ZERO", "_mm_setcsr", "fesetenv", "fesetround", "fast_math", "float_control"):
            assert word not in code, f"{path.name}: {word}"


# ---- Python


def module_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports_of(path):
    """Modules of the package that a file imports, anywhere in it."""
    package = ("fastgrad", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("fastgrad."):
                yield name.removeprefix("fastgrad.")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_downwards_only(module):
    own = floor_of(module.split(".")[0], FLOORS)
    assert own is not None, f"give {module} a floor in this test"
    for name in imports_of(MODULES[module]):
        floor = floor_of(name.split(".")[0], FLOORS)
        if floor is None:  # a name of the package itself, defined on the top floor
            assert name == "__version__" or own >= floor_of("plot", FLOORS), f"{module} imports {name}"
        else:
            assert floor <= own, f"{module} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    needs = {}
    for module, path in MODULES.items():
        names = set(imports_of(path))
        needs[module] = (names | {name.rpartition(".")[0] for name in names}) & set(MODULES) - {module}
    list(graphlib.TopologicalSorter(needs).static_order())


def test_only_the_compiler_knows_how_words_are_laid_out():
    knowing = [module for module, path in MODULES.items() if "0x3230444152474601" in path.read_text()]
    assert knowing == ["_compiler.storage"]


# ---- derivatives, documents


def test_every_operation_has_a_derivative():
    assert set(ELEMENTWISE) - set(PARTIALS) - set(PULLBACKS) == set()
    assert set(INFER) - set(PULLBACKS) == {"lane_sum"}  # put around derivatives


def test_the_architecture_is_written_down():
    page = ROOT / "ARCHITECTURE.md"
    if not page.exists():
        pytest.skip("there is no ARCHITECTURE.md yet")
    text = page.read_text()
    assert len(text.splitlines()) <= 150
    files = [*C_FILES, *PACKAGE.glob("*.py[xd]"), *(path for path in MODULES.values() if path.stem != "__init__")]
    assert [path.name for path in files if not re.search(rf"\b{re.escape(path.stem)}\b", text)] == []
