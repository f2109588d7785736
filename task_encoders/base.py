"""Energon's TaskEncoder, of version 5, 6 or 7, whose cookers get the bytes of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megatron.energon import TaskEncoder

from task_encoders.made_up import warn_of_made_up_weights


class BytesTaskEncoder(TaskEncoder):  # type: ignore[misc]
    """What our task encoders derive from: nothing decodes a part before our cookers do.

    Energon's own decoders run whatever a pickle asks for. In Energon 7 the task encoder has one; in
    5 and 6 each dataset has, from which it is taken away when the datasets are put together.
    """

    decoder = None

    def build_train_datasets(self, *, datasets: Sequence[Any], **options: Any) -> Any:
        """Energon's, which ``get_train_dataset`` calls."""
        for item in datasets:
            _leave_bytes(item)
            warn_of_made_up_weights(item)
        return super().build_train_datasets(datasets=datasets, **options)

    def build_val_datasets(self, *, datasets: Sequence[Any], **options: Any) -> Any:
        """Energon's, which ``get_val_dataset`` calls."""
        for item in datasets:
            _leave_bytes(item)
            warn_of_made_up_weights(item)
        return super().build_val_datasets(datasets=datasets, **options)


def _leave_bytes(dataset: Any) -> None:
    """Take the decoder from a dataset, or (dataset, weight), and from those that it joins."""
    if isinstance(dataset, tuple):
        dataset = dataset[0]
    if hasattr(dataset, "_decoder"):
        dataset._decoder = None
    for inner in getattr(dataset, "inner_datasets", None) or ():
        _leave_bytes(inner)
