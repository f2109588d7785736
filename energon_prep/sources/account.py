"""What became of everything that a source was found to hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from energon_prep.errors import PrepError
from energon_prep.samples import printable

FURTHER_KINDS = "of further kinds"
_MAX_KINDS = 100


@dataclass
class Account:
    """The files of a folder, the members of tars, the rows of a table: found = samples + companions
    + passed over.

    A row and the file that it names are one thing found. ``find`` is called where things are met,
    the others where they are sorted, so that ``check`` shows whatever falls between.
    """

    num_found: int = 0
    num_samples: int = 0
    num_companions: int = 0  #: captions, metadata and further parts that belong to a sample; tables
    #: What is no sample and belongs to none, by kind: ".heic (pip install 'energon-prep[heif]')",
    #: ".txt without media"
    passed_over: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  #: by kind, the first one met
    #: tars that end early -> what is known of it
    damaged: dict[str, str] = field(default_factory=dict)
    #: what else the user should know, a sentence each
    told: list[str] = field(default_factory=list)

    def find(self, number: int = 1) -> None:
        self.num_found += number

    def add_sample(self) -> None:
        self.num_samples += 1

    def add_companion(self, number: int = 1) -> None:
        self.num_companions += number

    def pass_over(self, kind: str, example: str, number: int = 1) -> None:
        """``example``: its path, of which the first of each kind is shown.

        Kinds without end, as of suffixes that are dates or hashes, are counted as one.
        """
        kind = printable(kind)
        if kind not in self.passed_over and len(self.passed_over) >= _MAX_KINDS:
            kind = FURTHER_KINDS
        self.passed_over[kind] += number
        self.examples.setdefault(kind, printable(example))

    def tell(self, sentence: str) -> None:
        if sentence not in self.told:
            self.told.append(sentence)

    def tell_parts(self, numbers: Counter[str]) -> None:
        """Tell which further parts of samples are not kept: by name, how many samples have it."""
        if numbers:
            parts = ", ".join(
                f"{number} x {printable(name)}" for name, number in numbers.most_common(5)
            )
            self.tell(f"further parts of samples are left out: {parts} (--carry NAME keeps them)")

    def check(self) -> None:
        """Raise PrepError if something was found and not sorted: a fault of this program."""
        sorted_ = self.num_samples + self.num_companions + self.passed_over.total()
        if self.num_found != sorted_:
            raise PrepError(
                f"{self.num_found} things were found in the source, and {self.num_samples} "
                f"samples, {self.num_companions} companions and {self.passed_over.total()} "
                f"passed over make {sorted_}. Please report this"
            )

    def describe(self) -> dict[str, Any]:
        """JSON-able, for run.json and reports."""
        return {
            "found": self.num_found,
            "samples": self.num_samples,
            "companions": self.num_companions,
            "passed_over": dict(self.passed_over.most_common()),
            "examples": self.examples,
            "damaged": self.damaged,
            "told": self.told,
        }
