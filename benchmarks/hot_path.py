"""Which files and functions of the package one image passes between plan and tar: python -m
benchmarks.hot_path.

Some images are encoded on tiny weights in this process while every call is counted. A function that
is called at least once for each image is on the hot path; what runs once for a run, a shard or a
batch is not.
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
from typing import Any

import energon_prep
from energon_prep.demo_data import make_raw_dataset

PACKAGE = Path(energon_prep.__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--recipe", default="dit")
    args = parser.parse_args()
    hot = hot_functions(args.recipe, args.images)
    for file, functions in sorted(by_file(hot).items()):
        print(f"{file:<40} {' '.join(sorted(functions))}")
    print(f"{len(by_file(hot))} files, {len(hot)} functions")


def hot_functions(recipe: str, num_images: int) -> set[tuple[str, str]]:
    """(file, function) of what is called at least ``num_images`` times while so many are
    encoded.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, encoded = Path(folder) / "raw", Path(folder) / "encoded"
        make_raw_dataset(raw, num=num_images)
        with counted() as calls:
            energon_prep.encode(
                raw,
                encoded,
                recipe=recipe,
                weights="tiny",
                resolution=64,
                batch_size=4,
                device="cpu",
            )
    return {function for function, number in calls.items() if number >= num_images}


@contextmanager
def counted() -> Iterator[Counter[tuple[str, str]]]:
    """Counts the calls of the package's functions in all threads that are started within."""
    calls: Counter[tuple[str, str]] = Counter()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            calls[str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def by_file(functions: set[tuple[str, str]]) -> dict[str, set[str]]:
    files: dict[str, set[str]] = {}
    for file, function in functions:
        files.setdefault(file, set()).add(function)
    return files


if __name__ == "__main__":
    main()
