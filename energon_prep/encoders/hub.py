"""Whether the Hugging Face hub can be reached, found out at once and not by five tries a file."""

from __future__ import annotations

import time

_TIMEOUT = 10.0  #: seconds for an answer
_GOOD_FOR = 60.0  #: seconds that an answer is taken to hold

_asked: dict[str, tuple[float, bool]] = {}  #: by address: when, and whether it answered


def is_reachable() -> bool:
    """Whether the hub answers, whatever it says. False where there is to be no network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    when, answered = _asked.get(constants.ENDPOINT, (-_GOOD_FOR, False))
    if time.monotonic() - when > _GOOD_FOR:
        answered = _answers(constants.ENDPOINT)
        _asked[constants.ENDPOINT] = (time.monotonic(), answered)
    return answered


def transport_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises where nothing answers. Its HTTP library is another in each
    major release; what all errors of that derive from, ``HfHubHTTPError`` does too.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _answers(endpoint: str) -> bool:
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        get_session().head(endpoint, timeout=_TIMEOUT)
    except transport_errors():
        return False
    return True
