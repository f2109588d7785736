"""Which files and functions of the package one image passes between plan and tar: python -m
benchmarks.hot_path.

Some images are encoded on tiny weights in this process while every call is counted. A function that
is entered at least once for each image is on the way; what runs once for a run, a shard or a batch
is not. Comprehensions, generator expressions and lambdas are lines of the function around them. The
way begins where the worker takes its first shard of the plan; what lists and plans the source comes
before it and is counted apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import energon_prep
from energon_prep.demo.data import make_raw_dataset

PACKAGE = Path(energon_prep.__file__).parent

#: The worker's generator, by which the way begins; with its last shard it ends.
WORKER = ("executors/worker.py", "Worker.encode")

Function: TypeAlias = tuple[str, str]  #: file and name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--recipe", default="dit")
    args = parser.parse_args()
    planning, way = hot_functions(args.recipe, args.images)
    for file, functions in sorted(by_file(way).items()):
        print(f"{file:<28} {' '.join(sorted(functions))}")
    print(f"between plan and tar: {len(by_file(way))} files, {len(way)} functions")
    print(f"listing and planning: {len(by_file(planning))} files, {len(planning)} functions")


def hot_functions(recipe: str, num_images: int) -> tuple[set[Function], set[Function]]:
    """What is entered at least ``num_images`` times while so many are listed and planned, and while
    they go from the plan into a tar.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, encoded = Path(folder) / "raw", Path(folder) / "encoded"
        make_raw_dataset(raw, num=num_images)
        with counted() as (planning, way):
            energon_prep.encode(
                raw,
                encoded,
                recipe=recipe,
                weights="tiny",
                resolution=64,
                batch_size=4,
                device="cpu",
            )
    return frequent(planning, num_images), frequent(way, num_images)


def frequent(calls: Counter[Function], least: int) -> set[Function]:
    return {function for function, number in calls.items() if number >= least}


@contextmanager
def counted() -> Iterator[tuple[Counter[Function], Counter[Function]]]:
    """Counts the calls of the package's functions in all threads that are started within: before
    the worker begins, and from then until it has given its last shard.
    """
    planning, way, after = Counter[Function](), Counter[Function](), Counter[Function]()
    calls = planning

    def note(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(str(PACKAGE)):
            return
        function = str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname
        if function == WORKER:
            # what the generator gives is a ledger's entry, or None when it ends
            calls = after if event == "return" and arg is None else way
        if event == "call" and not code.co_name.startswith("<"):
            calls[function] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield planning, way
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def by_file(functions: set[Function]) -> dict[str, set[str]]:
    files: dict[str, set[str]] = {}
    for file, function in functions:
        files.setdefault(file, set()).add(function)
    return files


if __name__ == "__main__":
    main()
