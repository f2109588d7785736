"""Every name of a dataset on disk, once.

DST/shard_000000.tar .tar.idx                     the samples; where each begins
DST/.nv-meta/                                     what Megatron-Energon reads
(energon_prep.indexing)
DST/.energon-prep/run.json plan.jsonl             what the dataset is made of; its shards
DST/.energon-prep/ledger/shard_000000.json .rows  a finished shard; what an index needs of it
DST/.energon-prep/rejects/shard_000000.jsonl      its samples that could not be encoded
DST/.energon-prep/empty_caption.pickle            the empty caption's embedding
DST/.energon-prep/bad/ tmp/ lock                  what was set aside; what is being written; who
writes
"""

from __future__ import annotations

PRIVATE_DIR = ".energon-prep"
META_DIR = ".nv-meta"

RUN = f"{PRIVATE_DIR}/run.json"
PLAN = f"{PRIVATE_DIR}/plan.jsonl"
LEDGER_DIR = f"{PRIVATE_DIR}/ledger"
REJECTS_DIR = f"{PRIVATE_DIR}/rejects"
EMPTY_CAPTION = f"{PRIVATE_DIR}/empty_caption.pickle"
BAD_DIR = f"{PRIVATE_DIR}/bad"  #: nothing reads it, the user may remove it
TMP_DIR = f"{PRIVATE_DIR}/tmp"
LOCK = f"{PRIVATE_DIR}/lock"


def shard_stem(index: int) -> str:
    return f"shard_{index:06d}"


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


def sample_key(serial: int, clip: int | None = None) -> str:
    """The key of a sample in the dataset: serial over all shards, so unique by construction, and
    free of dots.

    ``clip`` numbers the samples that were made of one raw sample.
    """
    return f"samples/sample_{serial:09d}" + ("" if clip is None else f"_{clip:04d}")
