"""Energon's TaskEncoder, of version 5, 6 or 7, whose cookers get the bytes of parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from megatron.energon import TaskEncoder

from task_encoders.blends import Blend, warn_of_other_encoders
from task_encoders.captions import CaptionDropout
from task_encoders.errors import sentence_first
from task_encoders.made_up import warn_of_made_up_weights
from task_encoders.open_tars import forget_members
from task_encoders.ranks import require_samples
from task_encoders.runs import encoders_by_folder
from task_encoders.skips import count_skips


class BytesTaskEncoder(TaskEncoder):  # type: ignore[misc]
    """What our task encoders derive from: nothing decodes a part before our cookers do, and no
    worker goes on without a word when it has nothing to train on.

    Energon's own decoders run whatever a pickle asks for. In Energon 7 the task encoder has one; in
    5 and 6 each dataset has, from which it is taken away when the datasets are put together.
    """

    decoder = None
    _endless = True  #: whether the datasets that are being put together repeat for ever

    def __init__(self, dropout: CaptionDropout) -> None:
        super().__init__()
        self.blend = Blend()
        self.dropout = dropout

    def build_train_datasets(
        self, *, datasets: Sequence[Any], worker_config: Any, repeat: bool = True, **options: Any
    ) -> Any:
        """Energon's, which ``get_train_dataset`` calls."""
        self._prepare(datasets, worker_config, endless=repeat)
        built = super().build_train_datasets(
            datasets=datasets, worker_config=worker_config, repeat=repeat, **options
        )
        return sentence_first(built, worker_config)

    def build_val_datasets(
        self, *, datasets: Sequence[Any], worker_config: Any, **options: Any
    ) -> Any:
        """Energon's, which ``get_val_dataset`` calls."""
        self._prepare(datasets, worker_config, endless=False)
        built = super().build_val_datasets(
            datasets=datasets, worker_config=worker_config, **options
        )
        return sentence_first(built, worker_config)

    def build_encode_sample(self, dataset: Any, *, worker_config: Any) -> Any:
        """Energon's, with the samples counted that ``encode_sample`` leaves out, and with readers
        that take no more memory the longer they read.
        """
        forget_members(dataset)
        built = super().build_encode_sample(dataset, worker_config=worker_config)
        count_skips(built, of=dataset, worker_config=worker_config, endless=self._endless)
        return built

    def _prepare(self, datasets: Sequence[Any], worker_config: Any, *, endless: bool) -> None:
        self._endless = endless
        self.blend = Blend()
        require_samples(datasets, worker_config, endless=endless)
        self.dropout.require(datasets)
        for item in datasets:
            _leave_bytes(item)
            _restore_joined(item)
        encoders = encoders_by_folder(datasets)
        warn_of_made_up_weights(encoders)
        warn_of_other_encoders(datasets, encoders)


def _leave_bytes(dataset: Any) -> None:
    """Take the decoder from a dataset, or (dataset, weight), and from those that it joins."""
    if isinstance(dataset, tuple):
        dataset = dataset[0]
    if hasattr(dataset, "_decoder"):
        dataset._decoder = None
    for inner in getattr(dataset, "inner_datasets", None) or ():
        _leave_bytes(inner)


def _restore_joined(dataset: Any) -> None:
    """Give joined samples the keys by which the samples that they are read from are restored.

    Energon 7.4.1 puts a name in front of them that it does not take off again, so that no buffer
    with joined samples could be restored.
    """
    factory = getattr(dataset, "dataset", dataset)
    if not getattr(factory, "inner_datasets", None):
        return
    load = factory.load_sample

    @functools.wraps(load)
    def load_sample(samples: Any) -> Any:
        joined = load(samples)
        joined.__restore_key__ = samples.__restore_key__
        return joined

    factory.load_sample = load_sample
