"""``energon-prep encode``."""

from __future__ import annotations

from typing import Any

import click

from energon_prep.cli.console import (
    emit,
    encode_progress,
    print_dry_run,
    print_encode_report,
    print_index_report,
    write_profile,
)
from energon_prep.cli.downloads import tell_downloads
from energon_prep.cli.stopping import stopped_by_sigterm
from energon_prep.errors import PrepError

#: Options that are short for a recipe's field.
_FIELDS = {
    "vae": "visual.model",
    "resize": "resize.mode",
    "min_size": "resize.min_size",
    "min_frames": "filters.min_frames",
    "min_seconds": "filters.min_seconds",
    "min_fps": "filters.min_fps",
    "max_aspect": "filters.max_aspect",
    "frames": "frames.num_frames",
    "fps": "frames.fps",
    "frame_mode": "frames.mode",
    "samples_per_shard": "samples_per_shard",
    "batch_size": "batch_size",
    "seed": "seed",
}

#: Options that say how the source is read: fields of SourceOptions.
_READING = (
    *("caption_keys", "media_key", "captions", "caption_lines", "caption_encoding", "caption_text"),
    *(
        "caption_from_name",
        "captions_dir",
        "allow_empty_captions",
        "media_root",
        "include",
        "exclude",
    ),
    *("follow_links", "folder_repeats", "allow_damaged"),
)

#: What people call the media they want to keep.
_ORIGINALS = {"image": "media", "video": "media"}


@click.command()
@click.argument("src", default=".")
@click.argument("dst", default="./encoded")
@click.option(
    "--recipe",
    default="dit",
    show_default=True,
    help="A recipe's name (see `recipes`) or a YAML file.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|ID|DIR|MODULE:CLASS",
    help="Text encoders, in the recipe's order.",
)
@click.option("--vae", metavar="NAME|ID|DIR|MODULE:CLASS", help="Visual encoder.")
@click.option(
    "--weights",
    metavar="ID|DIR|tiny|random",
    help="A diffusers-style pipeline for all encoders; tiny: small random models, to try "
    "things offline; random: random values in the published sizes, to measure a device.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any recipe field: text.max_tokens=226.",
)
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    metavar="N|HxW",
    help="Size, or area of the buckets, in pixels. Given again: further latents of each sample "
    "(256.pth, 512.pth).",
)
@click.option(
    "--resize",
    type=click.Choice(["bucket", "crop", "fit", "stretch", "none"]),
    help="How to get there.",
)
@click.option("--min-size", type=int, help="Reject samples whose shorter side is below this.")
@click.option("--min-frames", type=int, help="Reject videos whose clip is shorter than this.")
@click.option(
    "--min-seconds", type=float, help="Reject videos, or clips of the metadata, shorter than this."
)
@click.option("--min-fps", type=float, help="Reject videos of fewer frames a second.")
@click.option(
    "--max-aspect",
    type=float,
    help="Reject samples whose longer side is more than this times the shorter.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Of a video, at most; cut to what the encoder takes.",
)
@click.option("--fps", type=float, help="Resample videos to this rate, by their timestamps.")
@click.option(
    "--frame-mode",
    type=click.Choice(["head", "uniform", "chunks", "images", "clip"]),
    help="Which frames: the first, spread out, all as clips, each an image, start to end from "
    "the metadata.",
)
@click.option(
    "--dtype",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    help="Of what is stored; --set visual.compute_dtype=fp32 is what a model computes in.",
)
@click.option("--samples-per-shard", type=int, help="Samples in one tar.")
@click.option("--seed", type=int, help="Of every random draw.")
@click.option(
    "--source",
    "source_kind",
    metavar="KIND",
    help="folder, manifest or webdataset, recognised by itself; or MODULE:CLASS.",
)
@click.option(
    "--caption-key",
    "caption_keys",
    multiple=True,
    metavar="K[:WEIGHT]",
    help="Column, JSON key or suffix of files that holds the caption; again for others, where "
    "it is empty.",
)
@click.option(
    "--image-key", "media_key", metavar="K", help="Column or member suffix that holds the image."
)
@click.option(
    "--captions",
    type=click.Choice(["first", "longest", "all", "join", "draw"]),
    default="first",
    show_default=True,
    help="Of several captions; all: a sample for each; draw: one by weight and --seed.",
)
@click.option("--caption-lines", is_flag=True, help="Every line of a caption file is a caption.")
@click.option(
    "--caption-encoding", default="utf-8", show_default=True, metavar="NAME", help="Such as cp1252."
)
@click.option("--caption", "caption_text", metavar="TEXT", help="For samples without a caption.")
@click.option(
    "--caption-from-name", is_flag=True, help="For samples without a caption, the file's name."
)
@click.option(
    "--captions-dir", metavar="DIR", help="Folder of SRC with the media's tree of caption files."
)
@click.option(
    "--allow-empty-captions",
    is_flag=True,
    help="Encode samples without a caption as the empty caption.",
)
@click.option(
    "--media-root",
    metavar="DIR",
    help="What a manifest's relative paths start from. [default: its folder]",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Only paths of SRC that match, such as 'train-*'.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No paths of SRC that match.")
@click.option("--follow-links", is_flag=True, help="Follow links out of SRC and to folders.")
@click.option(
    "--folder-repeats",
    is_flag=True,
    help="Take folders named 10_cats ten times, as kohya's trainers do.",
)
@click.option("--allow-damaged", is_flag=True, help="Tars that end early are told, and no error.")
@click.option(
    "--carry",
    metavar="image,caption,PART",
    help="Keep originals in the tar, beside the encodings; also parts such as mask.png of "
    "s0.mask.png.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N samples, after --shuffle."
)
@click.option(
    "--shuffle", type=click.IntRange(min=0), metavar="SEED", help="Draw the order of all samples."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda, cuda:N; several (cuda:0,1) get a process each. auto: every CUDA device, "
    "or else the CPU.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Decode threads per device. [default: all processors]",
)
@click.option("--batch-size", metavar="auto|N", help="Samples in a batch; auto: found by trial.")
@click.option(
    "--phases",
    is_flag=True,
    help="Visual and text encoders take turns on a device that cannot hold both.",
)
@click.option(
    "--torch-threads",
    type=click.IntRange(min=1),
    help="Threads of the models on the CPU; recorded.",
)
@click.option(
    "--max-rejects", metavar="N|P%", help="Stop when more samples than this are rejected."
)
@click.option("--overwrite", is_flag=True, help="Remove the dataset in DST and start over.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and write nothing.")
@click.option(
    "--split",
    metavar="A,B,C",
    help="Index when done: shares of train, val and test, such as 8,1,1.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write where the time was spent, as JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@stopped_by_sigterm()
def command(
    src: str,
    dst: str,
    recipe: str,
    models: tuple[str, ...],
    sets: tuple[str, ...],
    resolutions: tuple[str, ...],
    carry: str | None,
    dtype: str | None,
    dry_run: bool,
    split: str | None,
    profile: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Encode SRC (a folder, a manifest or tars) into the dataset DST.

    Goes on where an earlier run of the same command was stopped, by Ctrl-C, SIGTERM or worse. Exit
    code 0 when every sample is written or accounted for as a reject, 1 when not.
    """
    changes: dict[str, Any] = _parse_sets(sets)
    changes |= {
        field: value for name, field in _FIELDS.items() if (value := options.pop(name)) is not None
    }
    changes |= {f"text.{i}.model": model for i, model in enumerate(models)}
    if resolutions:
        changes |= {"resize.resolution": resolutions[0], "resize.more_resolutions": resolutions[1:]}
    if carry is not None:
        changes["carry"] = [_ORIGINALS.get(word.strip(), word.strip()) for word in carry.split(",")]
    if dtype is not None:
        changes |= {"visual.dtype": dtype, "text.dtype": dtype}
    if split is not None:
        from energon_prep.splits import parse_split

        parse_split(split)  # a wrong one is told before hours of encoding
    from energon_prep.recipes.load import load_recipe

    resolved = load_recipe(recipe, changes)  # a wrong one is told before seconds of importing
    from energon_prep.sources.options import SourceOptions

    reading = SourceOptions(**{name: options.pop(name) for name in _READING})
    tell_downloads(resolved, weights=options["weights"], dest=None if dry_run else dst)
    what: dict[str, Any] = {
        "recipe": recipe,
        "changes": changes,
        "options": reading,
        "split": split,
    }
    what |= {name: options.pop(name) for name in ("source_kind", "limit", "shuffle")}
    from energon_prep.device.tuning import tune_process

    tune_process()
    from energon_prep.run import encode as run

    if dry_run:
        print_dry_run(run.dry_run(src, **what), dest=dst, as_json=as_json)
        return
    with encode_progress() as progress:
        report = run.encode(src, dst, progress=progress, **what, **options)
    if profile is not None:
        write_profile(report, profile)
    if as_json:
        emit(report.to_dict())
    else:
        print_encode_report(report)
    if split is not None:
        from energon_prep.indexing import index

        index_report = index(dst, split=split)
        if not as_json:
            print_index_report(index_report)


def _parse_sets(sets: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    changes = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {item!r}: give KEY=VALUE, such as text.max_tokens=226")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise PrepError(f"--set {item!r}: the value is not YAML: {error}") from error
    return changes
