"""The arrows between the stations point one way, and training nodes need only torch and Energon."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("energon_prep", "cookers", "task_encoders")

RECORDS = {
    *(
        "errors",
        "formats",
        "layout",
        "meter",
        "options",
        "plugins",
        "progress",
        "samples",
        "splits",
    ),
    *("storage", "tar_headers"),
}
STATIONS = {"sources", "decode", "encoders", "targets", "shards", "recipes"}

#: What each part of energon_prep, and each of the other two packages, may import of all these,
#: besides itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "plugins": {"errors"},
    "samples": {"errors"},
    "splits": {"errors"},
    "layout": set(),
    "options": set(),
    "meter": set(),
    "progress": {"meter"},
    "storage": {"errors", "layout"},
    "formats": set(),
    "tar_headers": set(),
    "sources": RECORDS,
    "decode": RECORDS | {"recipes"},  # the sections of a recipe that they are made of
    "encoders": RECORDS | {"recipes"},
    "targets": RECORDS,
    "shards": RECORDS,
    "recipes": RECORDS,
    "plan": RECORDS | {"sources"},
    "device": RECORDS | STATIONS,
    "pipeline": RECORDS | STATIONS | {"plan", "device"},
    "executors": RECORDS | STATIONS | {"plan", "device", "pipeline", "demo"},
    "run": RECORDS
    | STATIONS
    | {"plan", "device", "pipeline", "executors", "indexing", "demo", "__init__"},
    "indexing": RECORDS | STATIONS | {"cookers"},
    "curate": RECORDS | STATIONS | {"indexing"},
    "verifying": RECORDS | STATIONS | {"plan", "device", "pipeline", "run", "indexing", "cookers"},
    "loading": {"errors", "cookers", "task_encoders"},
    "demo": {"errors", "recipes", "encoders"},
    "cli": RECORDS
    | STATIONS
    | {
        "device",
        "pipeline",
        "run",
        "indexing",
        "curate",
        "verifying",
        "loading",
        "demo",
        "__init__",
    },
    "__init__": {"errors", "curate", "run", "indexing", "verifying", "recipes"},
    "__main__": {"cli"},
    "cookers": set(),
    "task_encoders": {"cookers"},
}

#: What the packages of the training side may import besides the standard library.
TRAINING_SIDE = {"torch", "numpy", "megatron.energon"}


def part_of(module: str) -> str | None:
    """ "energon_prep.targets.dit" -> "targets", "cookers.safe" -> "cookers"; None for what is not
    ours.
    """
    package, *rest = module.split(".")
    if package == "energon_prep":
        return rest[0] if rest else "__init__"
    return package if package in PACKAGES else None


def imported_modules(path: Path) -> Iterator[str]:
    """Everything that the file imports, also within functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            submodules = {
                child.stem for child in (ROOT / str(node.module).replace(".", "/")).glob("*")
            }
            for alias in node.names:
                yield (
                    f"{node.module}.{alias.name}" if alias.name in submodules else str(node.module)
                )


def sources(part: str) -> list[Path]:
    if part in PACKAGES:
        return sorted((ROOT / part).rglob("*.py"))
    package = ROOT / "energon_prep"
    return sorted(package.glob(f"{part}.py")) + sorted((package / part).rglob("*.py"))


def existing_parts() -> set[str]:
    package = ROOT / "energon_prep"
    return {
        path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")
    }


def test_every_part_is_in_the_table() -> None:
    assert existing_parts() <= set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_arrows_point_one_way(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(part)
        for module in imported_modules(path)
        if part_of(module) not in {None, part} | ALLOWED[part]
    ]
    assert not wrong


def test_the_table_has_no_circles() -> None:
    left = dict(ALLOWED)
    while left:
        # which has the version
        ready = [part for part, needs in left.items() if not needs & set(left) - {"__init__"}]
        assert ready, f"these import each other: {sorted(left)}"
        for part in ready:
            del left[part]


@pytest.mark.parametrize("package", ["cookers", "task_encoders"])
def test_the_training_side_imports_only_torch_and_energon(package: str) -> None:
    allowed = TRAINING_SIDE | sys.stdlib_module_names | {"cookers", "task_encoders"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(package)
        for module in imported_modules(path)
        if not any(module == name or module.startswith(name + ".") for name in allowed)
    ]
    assert not wrong


BLOCKED_IMPORTS = """
import sys

class Blocker:
    names = {"energon_prep", "diffusers", "transformers"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is not there on a training node")

sys.meta_path.insert(0, Blocker())
import megatron.energon  # which imports PIL, and av where it is, for itself

Blocker.names |= {"av", "PIL"}
for name in [name for name in sys.modules if name.partition(".")[0] in Blocker.names]:
    del sys.modules[name]
import cookers, task_encoders

print(cookers.latent_cooker, task_encoders.LatentTaskEncoder())
"""


def test_the_training_side_loads_without_what_encoding_needs() -> None:
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED_IMPORTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "cook_latents" in result.stdout
