"""The two ways things go wrong: a sample is rejected and the run goes on, or the run stops."""

from __future__ import annotations


class SampleError(Exception):
    """This one sample cannot be encoded: it becomes a reject, and the run goes on.

    Raised in per-sample functions only; caught in one place, where it is recorded with the sample's
    key and counted. ``reason`` is short and free of the sample's own name, so that equal reasons
    add up in the report; what is particular to the sample goes into ``detail``.
    """

    def __init__(self, stage: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{stage}: {reason}" + (f" ({detail})" if detail else ""))
        self.stage = stage
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str, str]]:
        return type(self), (self.stage, self.reason, self.detail)


class PrepError(Exception):
    """The run cannot go on: the message names the thing, the value found and the remedy. Exit code
    1.
    """


class UsageError(PrepError):
    """What was asked for cannot be meant, or not here: nothing was written. Exit code 2."""
