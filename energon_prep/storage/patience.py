"""A store that fails is asked again, for as long as that may pass."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from energon_prep.errors import PrepError
from energon_prep.storage.urls import scrubbed

log = logging.getLogger(__name__)

T = TypeVar("T")

_OUR_FAULTS = (TypeError, ValueError, AttributeError, LookupError, ImportError)
_NO_ACCESS = ("NoCredentialsError", "PartialCredentialsError")  #: of botocore, which s3 alone has


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a store that fails is asked again."""

    seconds: float = 300.0  #: in all, for one file
    first_wait: float = 0.5
    most_wait: float = 20.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class StoreError(PrepError):
    """A store that does not answer: what it holds is not known, and nothing of it is damaged."""


def answer(ask: Callable[[], T], url: str, patience: Patience) -> T:
    """The store's answer; a failure that may pass is met with another try, until patience ends.

    Raises FileNotFoundError and FileExistsError as they are, and PrepError for the rest.
    """
    until, wait = patience.now() + patience.seconds, patience.first_wait
    while True:
        try:
            return ask()
        except (FileNotFoundError, FileExistsError, PrepError, *_OUR_FAULTS):
            raise
        except PermissionError as error:
            raise _not_allowed(url, error) from None
        except Exception as error:  # noqa: BLE001 - each store's library has errors of its own
            if type(error).__name__ in _NO_ACCESS:
                raise _not_allowed(url, error) from None
            pause = wait * random.uniform(0.5, 1.0)  # not all workers at once
            if patience.now() + pause >= until:
                raise StoreError(
                    f"{url}: the store failed for {patience.seconds:g} s, at last with "
                    f"{type(error).__name__}: {scrubbed(error)}. Run the same command again when "
                    "it answers; what is finished is kept"
                ) from None
            log.debug("%s: %s: tried again", url, scrubbed(error))
        patience.sleep(pause)
        wait = min(2 * wait, patience.most_wait)


def _not_allowed(url: str, error: Exception) -> PrepError:
    return PrepError(
        f"{url}: the store refuses access ({scrubbed(error)}): give credentials that may read and "
        "write there, by environment or profile, and run the same command again; what is finished "
        "is kept"
    )
