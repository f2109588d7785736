"""The library's verbs and the command line have the same options."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

import energon_prep
from energon_prep.cli import main
from energon_prep.errors import PrepError
from energon_prep.recipes.load import load_recipe
from energon_prep.run.encode import dry_run, encode
from energon_prep.run.options import EncodeOptions
from energon_prep.run.request import make_job, make_request
from energon_prep.run.resolve import resolve_recipe

#: The command line's way to print, and the verbs of their own that it calls.
OF_COMMANDS = {"encode": {"json", "dry_run"}, "index": {"json", "fix"}, "verify": {"json"}}
#: What a program can take and a command line cannot give.
OF_VERBS = {
    "encode": {"progress"},
    "index": {"progress", "tell", "timeout"},
    "verify": {"progress"},
}


def defaults_of_command(name: str) -> dict[str, Any]:
    """By the names that a user types, of arguments by their own; nothing given is None."""
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    found = {}
    for parameter in command.params:
        typed = parameter.opts[0].removeprefix("--").replace("-", "_")
        found[typed] = parameter.default if isinstance(parameter.default, (str, bool)) else None
    return found


def defaults_of_verb(verb: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(verb).parameters.values()
    return {parameter.name: parameter.default or None for parameter in parameters}


@pytest.mark.parametrize("verb", [encode, dry_run, energon_prep.index, energon_prep.verify])
def test_the_command_line_and_the_library_have_the_same_options(verb: Callable[..., Any]) -> None:
    name = verb.__name__.replace("dry_run", "encode")
    command = {key: value or None for key, value in defaults_of_command(name).items()}
    library = defaults_of_verb(verb)
    assert command.keys() >= OF_COMMANDS[name]
    assert library.keys() >= OF_VERBS[name]
    assert {key: value for key, value in command.items() if key not in OF_COMMANDS[name]} == {
        key: value for key, value in library.items() if key not in OF_VERBS[name]
    }


class Noting:
    """Options that note which of them are looked at."""

    def __init__(self, options: EncodeOptions) -> None:
        self.options = options
        self.seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.seen.add(name)
        return getattr(self.options, name)


def test_what_a_run_and_a_dry_run_share_leaves_no_option_out(raw: Path) -> None:
    noting: Any = Noting(EncodeOptions(raw, weights="tiny"))
    request = make_request(noting)
    make_job(noting, request, devices=["cpu"], torch_threads=1)
    of_the_run = {
        "device",
        "max_rejects",
        "retry_rejects",
        "extend",
        "update",
        "overwrite",
    }
    names = {field.name for field in dataclasses.fields(EncodeOptions)}
    assert noting.seen == names - of_the_run - {"progress"}


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"vae": "wan2.1", "frames": 5, "fps": 8}, {"visual.model": "wan2.1"}),
        ({"model": "t5-small"}, {"text.0.model": "t5-small"}),
        ({"model": ["t5-small"]}, {"text.0.model": "t5-small"}),
        ({"resolution": [64, "32x48"]}, {"resize.more_resolutions": ["32x48"]}),
        ({"carry": "image, mask.png"}, {"carry": ["media", "mask.png"]}),
        ({"carry": ["video", "caption"]}, {"carry": ["media", "caption"]}),
        ({"dtype": "fp32"}, {"visual.dtype": "fp32", "text.dtype": "fp32"}),
        ({"set": {"window": 8}, "batch_size": "auto"}, {"window": 8, "batch_size": "auto"}),
    ],
)
def test_options_are_short_for_fields(options: dict[str, Any], changes: Mapping[str, Any]) -> None:
    rest: dict[str, Any] = {"frames.num_frames": 5, "frames.fps": 8} if "frames" in options else {}
    rest |= {"resize.resolution": 64} if "resolution" in options else {}
    assert resolve_recipe(EncodeOptions(**options)) == load_recipe("dit", {**changes, **rest})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "--limit 0: give a whole number of 1 or more"),
        ({"torch_threads": True}, "--torch-threads True: give a whole number of 1"),
        ({"shuffle": -1}, "--shuffle -1: give a whole number of 0"),
        ({"split": "a"}, "split"),
        ({"resolution": (720, 1280)}, "give one size as N or 'HxW', or a list of sizes"),
        ({"frames": 0}, "frames.num_frames = 0"),
        ({"recipe": "dut"}, "did you mean 'dit'"),
    ],
)
def test_what_an_option_cannot_be_is_told(raw: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PrepError, match=re.escape(message)):
        dry_run(raw, **options)


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        (encode, {"resoluton": 3}, "encode() has no option 'resoluton', did you mean 'resolution'"),
        (dry_run, {"source_kin": "x"}, "dry_run() has no option .*did you mean 'source_kind'"),
        (energon_prep.index, {"sqlit": 1}, "index() has no option .*did you mean 'sqlite'"),
        (energon_prep.verify, {"deap": 1}, "verify() has no option 'deap', did you mean 'deep'"),
        (energon_prep.verify, {"zzz": 1}, "it has dest, deep, mark_bad, target"),
    ],
)
def test_a_misspelt_option_is_told_with_the_nearest(
    verb: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message.replace("()", r"\(\)")):
        verb(**options)


def test_help_says_what_each_option_means() -> None:
    told = inspect.getdoc(encode) or ""
    for field in dataclasses.fields(EncodeOptions):
        assert re.search(rf"^{field.name}: \S", told, re.MULTILINE)
    assert max(map(len, told.splitlines())) <= 96


def test_everything_public_is_there_and_offered_for_completion() -> None:
    for name in energon_prep.__all__:
        assert callable(getattr(energon_prep, name))
    assert set(energon_prep.__all__) <= set(dir(energon_prep))


@pytest.mark.parametrize("package", ["energon_prep", "cookers", "task_encoders"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    (folder,) = importlib.import_module(package).__path__
    assert (Path(folder) / "py.typed").exists()


def test_the_command_s_words_are_the_library_s() -> None:
    command = main.get_command(None, "encode")  # type: ignore[arg-type]
    assert command is not None
    by_name = {parameter.name: parameter for parameter in command.params}
    for field in dataclasses.fields(EncodeOptions):
        parameter = by_name.get(field.name)
        if isinstance(parameter, click.Option):
            assert parameter.help == field.metadata["meaning"]


def test_a_split_is_indexed_when_all_is_encoded(raw: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"weights": "tiny", "resolution": 64, "torch_threads": 1, "limit": 3}
    assert encode(raw, tmp_path / "a", **options).index is None
    assert not (tmp_path / "a/.nv-meta").exists()
    options |= {"split": [1, 0, 0], "profile": tmp_path / "profile.json"}
    report = encode(raw, tmp_path / "b", **options)
    assert report.index is not None
    assert report.index.split["train"] == (1, 3)
    assert json.loads((tmp_path / "profile.json").read_text())["samples"] == 3
    (tmp_path / "b/stray.tar").write_bytes(b"")
    with pytest.raises(
        PrepError, match=r"3 samples are written and 0 rejected, and then (.|\n)*stray"
    ):
        encode(raw, tmp_path / "b", **options)
