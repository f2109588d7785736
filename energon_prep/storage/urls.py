"""URLs of object stores, and the secrets that must not be told with them."""

from __future__ import annotations

import re

from energon_prep.errors import UsageError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET = re.compile(r"(?<=//)[^/@\s]+@|(?<=[?&])X-Amz-[^&\s]+", re.IGNORECASE)


def refuse_secrets(url: str) -> str:
    """``url``. Raises UsageError for one with a password in it, or with a query."""
    match = _SCHEME.fullmatch(url)
    if match is None or not match[2].strip("/"):
        raise UsageError(f"{scrubbed(url)}: give SCHEME://BUCKET/PREFIX")
    if "@" in match[2].partition("/")[0] or "?" in match[2]:
        raise UsageError(
            f"{scrubbed(url)}: a URL with credentials or a query in it ends in logs and records: "
            "give SCHEME://BUCKET/PREFIX, and the credentials by environment or profile"
        )
    return url


def scrubbed(what: object) -> str:
    """In words, without user, password and signature of a URL."""
    return _SECRET.sub("", str(what))
