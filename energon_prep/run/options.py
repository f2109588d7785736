"""The options of ``encode``: those of the command line, by the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from energon_prep.errors import UsageError
from energon_prep.options import option
from energon_prep.splits import parse_split

if TYPE_CHECKING:
    from energon_prep.pipeline.tally import Tally
    from energon_prep.recipes.model import Recipe

Names = str | Sequence[str]  #: one or several

#: The least that an option which counts can be.
_LEAST = {"limit": 1, "shuffle": 0, "workers": 1, "torch_threads": 1}


@dataclass(frozen=True)
class EncodeOptions:
    """What ``encode`` and ``dry_run`` take. Where nothing is said of a recipe's field, the
    recipe's own value stands.

    Raises PrepError for a number or split that can mean nothing.
    """

    source: str | Path = option(".", "SRC: a folder, a manifest or tars.")
    dest: str | Path = option("./encoded", "DST: the dataset's folder.")
    _: KW_ONLY
    recipe: str | Path | Recipe = option("dit", "A recipe's name (see `recipes`) or a YAML file.")
    model: Names = option((), "Text encoders, in the recipe's order.")
    vae: str | None = option(None, "Visual encoder.")
    weights: str | None = option(
        None,
        "A diffusers-style pipeline for all encoders; tiny: small random models, to try things "
        "offline; random: random values in the published sizes, to measure a device.",
    )
    set: Mapping[str, Any] | None = option(None, "Any recipe field, such as text.max_tokens=226.")
    resolution: int | str | list[int | str] | None = option(
        None,
        "Size, or area of the buckets, in pixels: N or HxW. Several: further latents of each "
        "sample (256.pth, 512.pth).",
    )
    resize: Literal["bucket", "crop", "fit", "stretch", "none"] | None = option(
        None, "How pictures come to that size."
    )
    min_size: int | None = option(None, "Reject samples whose shorter side is below this.")
    min_frames: int | None = option(None, "Reject videos whose clip is shorter than this.")
    min_seconds: float | None = option(
        None, "Reject videos, or clips of the metadata, shorter than this."
    )
    min_fps: float | None = option(None, "Reject videos of fewer frames a second.")
    max_aspect: float | None = option(
        None, "Reject samples whose longer side is more than this times the shorter."
    )
    frames: int | None = option(None, "Frames of a video, at most; cut to what the encoder takes.")
    fps: float | None = option(None, "Resample videos to this rate, by their timestamps.")
    frame_mode: Literal["head", "uniform", "chunks", "images", "clip"] | None = option(
        None,
        "Which frames: the first, spread out, all as clips, each an image, start to end from the "
        "metadata.",
    )
    dtype: Literal["bf16", "fp16", "fp32"] | None = option(
        None,
        "What is stored; what a model computes in is a recipe field, visual.compute_dtype.",
    )
    samples_per_shard: int | None = option(None, "Samples in one tar.")
    seed: int | None = option(None, "The seed of every random draw.")
    source_kind: str | None = option(
        None, "folder, manifest or webdataset, recognised by itself; or MODULE:CLASS."
    )
    caption_key: Names = option(
        (),
        "Column, JSON key or suffix of files that holds the caption; again for others, where it "
        "is empty.",
    )
    image_key: str | None = option(None, "Column or member suffix that holds the image.")
    captions: Literal["first", "longest", "all", "join", "draw"] = option(
        "first", "Which of several captions; all: a sample for each; draw: one by weight and seed."
    )
    caption_lines: bool = option(False, "Every line of a caption file is a caption.")
    caption_encoding: str = option(
        "utf-8", "The encoding of caption files and tables, such as cp1252."
    )
    caption: str | None = option(None, "The caption of samples that have none.")
    caption_from_name: bool = option(
        False, "The file's name is the caption of samples that have none."
    )
    captions_dir: str | None = option(None, "Folder of SRC with the media's tree of caption files.")
    allow_empty_captions: bool = option(
        False, "Encode samples without a caption as the empty caption."
    )
    media_root: str | None = option(
        None, "What a manifest's relative paths start from; its folder, if nothing is said."
    )
    include: Names = option((), "Only paths of SRC that match, such as 'train-*'.")
    exclude: Names = option((), "No paths of SRC that match.")
    follow_links: bool = option(False, "Follow links out of SRC and to folders.")
    folder_repeats: bool = option(
        False, "Take folders named 10_cats ten times, as kohya's trainers do."
    )
    allow_damaged: bool = option(False, "Tars that end early are told, and no error.")
    allow_unreadable: bool = option(
        False,
        "Go on where none of a whole window's samples can be read; each is a reject.",
    )
    carry: Names | None = option(
        None,
        "Keep originals in the tar, beside the encodings: image, caption, and parts such as "
        "mask.png of s0.mask.png.",
    )
    limit: int | None = option(
        None, "Only the first N samples, after shuffling; can be raised later."
    )
    shuffle: int | None = option(None, "Draw the order of all samples, by this seed.")
    device: str = option(
        "auto",
        "cpu, cuda, cuda:N; several (cuda:0,1) get a process each. auto: every CUDA device, or "
        "else the CPU.",
    )
    workers: int | None = option(
        None, "Decode threads per device; all processors, if nothing is said."
    )
    batch_size: int | Literal["auto"] | None = option(
        None, "Samples in a batch; auto: found by trial."
    )
    phases: bool = option(
        False, "Visual and text encoders take turns on a device that cannot hold both."
    )
    torch_threads: int | None = option(None, "Threads of the models on the CPU; recorded.")
    max_rejects: int | str | None = option(
        None, "Stop when more samples than this are rejected: N or P%."
    )
    retry_rejects: bool = option(
        False,
        "Make again the finished shards in which samples could not be read; all else is left.",
    )
    update: bool = option(
        False,
        "Make again the shards of samples that have changed in SRC; all else is left.",
    )
    extend: bool = option(
        False,
        "Plan what is new in SRC behind what DST has; finished shards stay, a short last one "
        "excepted.",
    )
    overwrite: bool = option(False, "Remove the dataset in DST and start over.")
    split: str | Sequence[float] | None = option(
        None,
        "Cut shards for shares of train, val and test, such as 8,1,1, and index them when done.",
    )
    profile: str | Path | None = option(
        None, "Write where the time was spent into this file, as JSON."
    )
    progress: bool | Callable[[Tally], None] | None = option(
        None,
        "A progress bar on stderr, or a function that is called with the counts after every "
        "sample; in a notebook a bar, if nothing is said.",
    )

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                said = name.replace("_", "-")
                raise UsageError(f"--{said} {value!r}: give a whole number of {least} or more")
        if self.split is not None:
            parse_split(self.split)
