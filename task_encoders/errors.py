"""What stops a training, so that our own sentence is the first that is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from megatron.energon import SkipSample
from megatron.energon.errors import FatalSampleError
from megatron.energon.wrappers.base import BaseWrapperDataset


class DataError(FatalSampleError):  # type: ignore[misc]
    """The data cannot be trained on as they are; Energon passes it on instead of skipping."""

    def __init__(self, message: str) -> None:
        """torch raises an error of a worker process again as one whose message is the worker's
        whole traceback; then its last line, which is ours, comes first.
        """
        name = f"{type(self).__module__}.{type(self).__name__}: "
        _, found, sentence = message.rpartition(name)
        again = message.startswith("Caught ") and bool(found)
        super().__init__(f"{sentence.strip()}\n{message}" if again else message)


def sentence_first(dataset: Any, worker_config: Any) -> Any:
    """The dataset, whose fatal errors begin with what was wrong instead of with a printed sample.

    Energon 5 has other wrappers: there it stays as it is.
    """
    if not hasattr(BaseWrapperDataset, "dataset"):
        return dataset
    return _SentenceFirst(dataset, worker_config=worker_config)


class _SentenceFirst(BaseWrapperDataset):  # type: ignore[misc]
    """Has no state of its own."""

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.dataset
        except DataError:
            raise
        except FatalSampleError as error:
            cause = _cause(error)
            if isinstance(cause, DataError):
                raise cause from None
            said = (
                str(cause) if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"
            )
            raise DataError(f"{said} ({_shortened(str(error))})") from cause

    def len_worker(self, worker_idx: int | None = None) -> int:
        return int(self.dataset.len_worker(worker_idx))

    def reset_state_own(self) -> None:
        pass

    def config(self) -> Any:
        return self.dataset.config()

    def __str__(self) -> str:
        return str(self.dataset)


def _cause(error: BaseException) -> BaseException:
    """The first error of the chain, of which Energon made the others."""
    while (before := error.__cause__ or error.__context__) is not None and not isinstance(
        before, SkipSample
    ):
        error = before
        if isinstance(error, DataError):
            break
    return error


def _shortened(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[: most // 4]} ... {text[-most // 2 :]}"
