from __future__ import annotations

from itertools import chain

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from energon_prep.errors import PrepError
from energon_prep.indexing.split import as_planned, assign, collapse, split_config
from energon_prep.splits import parse_split

ratios = st.one_of(
    st.sampled_from(
        [(7, 2, 1), (6, 3, 1), (8, 1, 1), (1, 0, 0), (0.8, 0.1, 0.1), (1e308, 1e308, 1e-308)]
    ),
    st.tuples(*[st.one_of(st.just(0.0), st.floats(0, 1e6))] * 3).filter(any),
)
shard_lists = st.integers(0, 50).map(lambda number: [f"shard_{i:06d}.tar" for i in range(number)])


@given(shard_lists, ratios)
def test_every_shard_is_in_exactly_one_split_in_order(
    shards: list[str], ratio: tuple[float, ...]
) -> None:
    splits = assign(dict.fromkeys(shards, 7), ratio)
    assert list(splits) == ["train", "val", "test"]
    assert list(chain(*splits.values())) == shards


@given(shard_lists, ratios)
def test_no_share_comes_out_empty_where_shards_suffice(
    shards: list[str], ratio: tuple[float, ...]
) -> None:
    sizes = [len(split) for split in assign(dict.fromkeys(shards, 7), ratio).values()]
    assert all(size == 0 for size, share in zip(sizes, ratio, strict=True) if not share)
    wanting = sum(1 for share in ratio if share)
    filled = sum(1 for size in sizes if size)
    assert filled == min(wanting, len(shards))


@given(shard_lists, ratios)
def test_sizes_are_within_one_of_the_quota_or_lifted_to_one(
    shards: list[str], ratio: tuple[float, ...]
) -> None:
    sizes = [len(split) for split in assign(dict.fromkeys(shards, 7), ratio).values()]
    parts = [share / max(ratio) for share in ratio]  # 1e308 + 1e308 is inf
    lifted = sum(1 for size in sizes if size == 1)
    for size, part in zip(sizes, parts, strict=True):
        quota = len(shards) * part / sum(parts)
        assert size == 1 or quota - 1 - lifted < size < quota + 1


@pytest.mark.parametrize("ratio", [(7, 2, 1), (6, 3, 1), (8, 1, 1)])
def test_ratios_that_floats_cut_short_are_exact(ratio: tuple[int, int, int]) -> None:
    for tens in range(1, 6):
        sizes = [
            len(split) for split in assign({str(i): 5 for i in range(10 * tens)}, ratio).values()
        ]
        assert sizes == [tens * share for share in ratio]


@pytest.mark.parametrize("ratio", ["7,2,1", "6,3,1", "8,1,1"])
def test_of_1_to_50_shards_each_is_in_one_split_of_the_file_and_none_is_empty(ratio: str) -> None:
    for number in range(1, 51):
        shards = [f"shard_{i:06d}.tar" for i in range(number)]
        parts = split_config(assign(dict.fromkeys(shards, 7), parse_split(ratio)))["split_parts"]
        assert isinstance(parts, dict)
        named = {
            name: list(chain.from_iterable(map(braceexpand, tars))) for name, tars in parts.items()
        }
        assert sorted(chain(*named.values())) == shards
        assert sum(1 for tars in named.values() if tars) == min(3, number)


def test_few_shards_go_to_the_largest_shares() -> None:
    assert assign({"a": 9, "b": 9}, (90, 4, 6)) == {"train": ["a"], "val": [], "test": ["b"]}
    assert assign({"a": 9, "b": 9, "c": 9}, (98, 1, 1)) == {
        "train": ["a"],
        "val": ["b"],
        "test": ["c"],
    }


@pytest.mark.parametrize(
    ("split", "ratio"), [("8,1,1", (8, 1, 1)), (" 1, 0 ,0", (1, 0, 0)), ((1, 2, 3), (1, 2, 3))]
)
def test_a_split_is_parsed(split: str | tuple[float, ...], ratio: tuple[float, ...]) -> None:
    assert parse_split(split) == ratio


@pytest.mark.parametrize(
    "split",
    [
        "8,1",
        "8,1,1,1",
        "",
        "a,b,c",
        "nan,1,1",
        "inf,1,1",
        "-1,1,1",
        "0,0,0",
        "1 0 0",
        (1, 2),
        (1, 2, "x"),
    ],
)
def test_a_bad_split_is_refused_with_value_and_remedy(split: str | tuple[float, ...]) -> None:
    with pytest.raises(PrepError) as caught:
        parse_split(split)
    assert repr(split) in str(caught.value)
    assert "three comma-separated non-negative numbers" in str(caught.value)


numbered = st.builds(
    lambda stem, start, count, width: [
        f"{stem}{i:0{width}d}.tar" for i in range(start, start + count)
    ],
    st.sampled_from(["shard_", "a/b-", "v2_", "", "x9y"]),
    st.integers(0, 10_020),
    st.integers(1, 30),
    st.integers(1, 6),
)


@given(st.lists(numbered, max_size=5).map(lambda runs: list(chain(*runs))))
def test_collapsed_names_expand_to_the_names(shards: list[str]) -> None:
    assert list(chain.from_iterable(braceexpand(name) for name in collapse(shards))) == shards


def test_collapse_gives_what_energon_gives() -> None:
    from megatron.energon.bracecollapse import collapse as official

    shards = [f"shard_{i:06d}.tar" for i in range(12)] + ["sub/a.tar", "sub/x_1.tar", "sub/x_3.tar"]
    assert collapse(shards) == official(shards, keep_order=True)
    # Of these, Energon's takes the second number for constant: it would look for s_2_01.tar.
    assert collapse(["s_1_01.tar", "s_2_1.tar"]) == ["s_1_01.tar", "s_2_1.tar"]


def test_the_config_names_every_split() -> None:
    assert split_config({"train": ["a_0.tar", "a_1.tar"], "val": [], "test": []}) == {
        "split_parts": {"train": ["a_{0..1}.tar"], "val": [], "test": []},
        "exclude": [],
    }


def test_shards_of_unequal_sizes_are_shared_by_their_samples() -> None:
    counts = {"a": 50, "b": 30, "c": 5, "d": 5, "e": 10}
    assert assign(counts, (8, 1, 1)) == {"train": ["a", "b"], "val": ["c", "d"], "test": ["e"]}


def test_shards_go_where_they_were_cut_for() -> None:
    planned = {"a": "train", "b": "val", "c": "train"}
    assert as_planned(["a", "b"], planned, (9, 1, 0)) == {"train": ["a"], "val": ["b"], "test": []}
    assert as_planned(["a", "b"], planned, (8, 1, 1)) is None
    assert as_planned(["a", "stray"], planned, (1, 0, 0)) is None
