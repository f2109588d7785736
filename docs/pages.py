"""The pages of this folder that the modules beside them make: shown, written, or compared."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """A page of this folder, all of which is made, or what stands between two marks."""

    name: str
    marks: tuple[str, str] | None = None

    @property
    def path(self) -> Path:
        return Path(__file__).parent / self.name

    def read(self) -> str:
        """The page as it is."""
        return self.path.read_text(encoding="utf-8")

    def holding(self, made: str) -> str:
        """The page as it is to be. Raises ValueError if it has not each mark once."""
        if self.marks is None:
            return made
        begin, end = self.marks
        before, rest = self.read().split(begin)
        _, after = rest.split(end)
        return f"{before}{begin}\n\n{made.strip()}\n\n{end}{after}"

    def offer(self, made: str, *, write: bool) -> None:
        if write:
            self.path.write_text(self.holding(made), encoding="utf-8")
        else:
            print(made)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put it into the page")
    return parser
