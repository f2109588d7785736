"""Every name of a dataset on disk, once.

DST/shard_000000.tar .tar.idx                     the samples; where each begins
DST/.nv-meta/                                     what Energon reads (energon_prep.indexing)
DST/.energon-prep/run.json plan.jsonl             what the dataset is made of; its shards
DST/.energon-prep/ledger.json                     the ledger's head: checksums of all this
DST/.energon-prep/ledger/shard_000000.json .rows  a finished shard; what an index needs of it
DST/.energon-prep/rejects/shard_000000.jsonl      its samples that could not be encoded
DST/.energon-prep/empty_caption.pickle            the empty caption's embedding
DST/.energon-prep/bad/ tmp/ lock                  set aside; being written; who writes

and while a run is unfinished

DST/.energon-prep/decoding-*                      what each worker is decoding
DST/.energon-prep/suspects.json                   what was, when a process was killed
"""

from __future__ import annotations

import re

PRIVATE_DIR = ".energon-prep"
META_DIR = ".nv-meta"

RUN = f"{PRIVATE_DIR}/run.json"
PLAN = f"{PRIVATE_DIR}/plan.jsonl"
LEDGER_HEAD = f"{PRIVATE_DIR}/ledger.json"
LEDGER_DIR = f"{PRIVATE_DIR}/ledger"
REJECTS_DIR = f"{PRIVATE_DIR}/rejects"
EMPTY_CAPTION = f"{PRIVATE_DIR}/empty_caption.pickle"
BAD_DIR = f"{PRIVATE_DIR}/bad"  #: nothing reads it, the user may remove it
TMP_DIR = f"{PRIVATE_DIR}/tmp"
LOCK = f"{PRIVATE_DIR}/lock"
SUSPECTS = f"{PRIVATE_DIR}/suspects.json"  #: at which a process was killed, while it is unfinished


def shard_stem(index: int) -> str:
    return f"shard_{index:06d}"


_STEM = re.compile(r"shard_([0-9]{6,18})")


def shard_index(name: str) -> int | None:
    """Of ``shard_000000.json`` and the like; None for any other name."""
    match = _STEM.fullmatch(name.partition(".")[0])
    index = None if match is None else int(match[1])
    return index if index is not None and shard_stem(index) == name.partition(".")[0] else None


def tar_name(index: int) -> str:
    return f"{shard_stem(index)}.tar"


def idx_name(index: int) -> str:
    return f"{tar_name(index)}.idx"


def rows_name(index: int) -> str:
    return f"{LEDGER_DIR}/{shard_stem(index)}.rows"


def entry_name(index: int) -> str:
    return f"{LEDGER_DIR}/{shard_stem(index)}.json"


def rejects_name(index: int) -> str:
    return f"{REJECTS_DIR}/{shard_stem(index)}.jsonl"


def decoding_name(worker: object) -> str:
    """The file in which a worker notes what it is decoding, while it runs."""
    return f"{PRIVATE_DIR}/decoding-{worker}"


def sample_key(serial: int, clip: int | None = None) -> str:
    """The key of a sample in the dataset: serial over all shards, so unique by construction, and
    free of dots.

    ``clip`` numbers the samples that were made of one raw sample.
    """
    return f"samples/sample_{serial:09d}" + ("" if clip is None else f"_{clip:04d}")


_KEY = re.compile(r"samples/sample_([0-9]{9,18})(?:_[0-9]{4,})?")


def key_serial(key: str) -> int | None:
    """The serial in what ``sample_key`` made; None for any other key."""
    match = _KEY.fullmatch(key)
    if match is None or (len(match[1]) > 9 and match[1].startswith("0")):
        return None
    return int(match[1])
