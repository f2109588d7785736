"""What a row says: which media it names or holds, what it is called, and what a chat in it
answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from energon_prep.errors import SampleError
from energon_prep.sources.captions import CAPTION_NAMES, names_in, pick

MEDIA_NAMES = (  #: columns with a path or bytes; URLs come last, to be refused by name
    *("file_name", "filename", "file", "path", "file_path", "filepath", "media", "media_path"),
    *("image", "image_path", "image_file", "image_name", "img", "img_path"),
    *("video", "video_path", "video_file", "video_name", "images", "videos", "image_paths"),
    *("jpg", "png", "webp", "mp4", "url", "image_url", "video_url"),
)
KEY_NAMES = ("key", "id", "sample_id")
CHAT_NAMES = ("conversations", "messages")  #: columns with a list of turns
#: of media that are an object
_PATH_NAMES = ("path", "file_name", "filename", "file", "src", "url")
_MODEL_ROLES = ("assistant", "gpt", "model", "bot")


@dataclass(frozen=True, kw_only=True)
class RowMedia:
    """The media in a column: bytes, a path, or Hugging Face's {bytes, path}; of a list of them, the
    first.
    """

    path: str | None  #: as the row has it
    content: bytes | memoryview | None
    num_left_out: int = 0  #: further ones in the list

    @staticmethod
    def of(value: object) -> RowMedia:
        """Raises SampleError for a value that is no media."""
        items = [item for item in value if item] if isinstance(value, (list, tuple)) else [value]
        first = items[0] if items else None
        content, path = _bytes_in(first), _path_in(first)
        if content is None and path is None:
            if not first:
                raise SampleError(
                    "read", "no media in the row (give --image-key)", "the media column is empty"
                )
            detail = f"it is {type(first).__name__}: {first!r:.80}"
            raise SampleError("read", "the media column holds neither a path nor bytes", detail)
        return RowMedia(path=path, content=content, num_left_out=max(len(items) - 1, 0))


def media_column(row: Mapping[str, Any], media_key: str | None) -> str:
    """The column to take the media from.

    Without ``media_key`` the first with a usual name that holds bytes, or else that holds anything.
    Raises SampleError if there is none.
    """
    if media_key is not None:
        names = [media_key] if media_key in row else []
    else:
        names = names_in(row, MEDIA_NAMES)
        names.sort(key=lambda name: (not _holds_bytes(row[name]), not row[name]))
    if not names:
        columns = f"its columns: {', '.join(row)}"
        raise SampleError("read", "no media in the row (give --image-key)", columns)
    return names[0]


def row_key(row: Mapping[str, Any]) -> str:
    """What the row calls itself, "" if nothing."""
    name = pick(row, None, KEY_NAMES)
    value = row[name] if name is not None else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def with_answers(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with what the model said in place of a chat's turns, as captions where it has no
    others.
    """
    chats = {
        name: answers for name in names_in(row, CHAT_NAMES) if (answers := _answers(row[name]))
    }
    if not chats:
        return row
    captions = {} if names_in(row, CAPTION_NAMES) else {"captions": next(iter(chats.values()))}
    return {**row, **chats, **captions}


def _answers(turns: object) -> list[str]:
    """What a model said: {"from": "gpt", "value": TEXT}, {"role": "assistant", "content": TEXT or
    PARTS}.
    """
    answers = []
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in _MODEL_ROLES:
            content = turn.get("content", turn.get("value"))
            parts = content if isinstance(content, list) else [content]
            texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
            answers += [text for text in texts if isinstance(text, str)]
    return answers


def _path_in(value: object) -> str | None:
    if isinstance(value, Mapping):
        name = pick(value, None, _PATH_NAMES)
        value = None if name is None else value[name]
    return value if isinstance(value, str) and value else None


def _holds_bytes(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        value = next(iter(value), None)
    return _bytes_in(value) is not None


def _bytes_in(value: object) -> bytes | memoryview | None:
    if isinstance(value, Mapping):
        value = value.get("bytes")
    return value if isinstance(value, (bytes, memoryview)) else None
