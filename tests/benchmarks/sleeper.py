"""A child to be asked for rounds: appends its name to a file in each; it fails if it is called
"broken".
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.children import Round, serve


def prepare(name: str, file: Path) -> Round:
    sys.stdout.write("a library says hello\n")
    if name == "broken":
        raise ValueError("no such model")

    def do_round() -> dict[str, Any]:
        with file.open("a") as notes:
            notes.write(name)
        return {"seconds": 0.5, "name": name}

    return do_round


if __name__ == "__main__":
    serve(lambda: prepare(sys.argv[1], Path(sys.argv[2])))
