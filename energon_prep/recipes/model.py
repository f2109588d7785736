"""The recipe: everything that decides what the bytes of a dataset will be, named and validated."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

DType = Literal["bf16", "fp16", "fp32"]

#: Of one batch; None: what suits the kind of device. Fixed when a dataset is begun, as batches of
#: other sizes may give other last bits.
_Budget = Annotated[int, Field(gt=0)] | None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Visual(_Section):
    """The visual encoder (VAE or tokenizer): pixels -> latent."""

    model: str  #: alias, Hugging Face id, directory, or a class of your own (docs/extending.md)
    options: dict[str, JsonValue] = {}  #: keyword arguments of a class of your own
    #: inside the model's repository; in a pipeline folder "vae" is tried by itself
    subfolder: str | None = None
    revision: str | None = None  #: commit, tag or branch of the repository
    #: ``model`` was chosen by the user: neither --weights nor ``pipeline`` takes its place
    named: bool = False
    dtype: DType = "bf16"  #: of what is stored
    #: of the model; None: what the pipelines of its class compute in
    compute_dtype: DType | None = None
    #: Taken of the VAE's Gaussian, whose mode is its mean; "moments": mean and log-variance, to
    #: draw in training.
    posterior: Literal["mean", "sample", "moments"] = "mean"
    #: (z - shift) * scale with the checkpoint's own values
    normalize: Literal["checkpoint", "none"] = "checkpoint"
    batch_pixels: _Budget = None  #: frames * height * width, at most
    #: Encode in overlapping tiles of diffusers' sizes, which needs less memory and gives slightly
    #: other latents than the whole frame. "auto": frames of more than ``tile_pixels``, whatever the
    #: device.
    tiling: Literal["auto", "always", "never"] = "auto"
    #: height * width; None: 2048x2048 of images, 1280x720 of clips
    tile_pixels: int | None = Field(default=None, gt=0)
    #: with torch.compile: faster once it has been compiled, and other last bits
    compile: bool = False


class Text(_Section):
    """One text encoder: caption -> embeddings."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")  #: what the target calls it: "t5", "clip"
    model: str
    options: dict[str, JsonValue] = {}  #: as in ``visual``
    #: of a pipeline folder: "text_encoder" (then "tokenizer") or "text_encoder_2", ...
    subfolder: str | None = None
    revision: str | None = None
    named: bool = False  #: as in ``visual``
    dtype: DType = "bf16"  #: of what is stored
    #: of the model; None: what the pipelines of its class compute in
    compute_dtype: DType | None = None
    #: Before tokenizing; the JSON's caption stays. "wan": ftfy, HTML entities, whitespace; "lower":
    #: strips as well.
    clean: Literal["none", "whitespace", "wan", "lower"] = "none"
    template: str | None = None  #: the prompt around the caption, which stands where it has {}
    #: Tokens of the template whose outputs are not stored, counted from the start; None: all that
    #: precede the caption.
    drop_tokens: int | None = Field(default=None, ge=0)
    #: stands for an empty caption, in the template too; of samples and of the stored one
    empty_caption: str = ""
    #: False: an empty caption gets no template, as the negative prompts of some pipelines
    empty_template: bool = True
    #: the start token's output is stored all the same, and not counted in drop_tokens
    keep_start_token: bool = False
    #: longer captions are cut here, the end token kept; counts what is stored
    max_tokens: int = Field(gt=0)
    #: "max_length": stored at max_tokens, padding outputs included
    padding: Literal["trim", "max_length"] = "trim"
    pad_token: str | None = None  #: instead of the tokenizer's own: OpenCLIP pads with "!"
    attention_mask: bool = True  #: False: padding is attended to, as some pipelines do
    zero_padding: bool = False  #: padding outputs are stored as zeros
    #: Of the model's hidden states; -1: the last, after the final norm; others as they leave their
    #: layer, without it.
    hidden_layer: int = Field(default=-1, le=-1)
    #: what is stored; "both": pooled as well, if the model has it
    output: Literal["both", "hidden", "pooled"] = "both"
    projection: bool = False  #: pooled is what CLIP's text projection makes of it
    batch_tokens: _Budget = None  #: sequences * longest, at most
    #: with torch.compile: faster once it has been compiled, and other last bits
    compile: bool = False

    @model_validator(mode="after")
    def _template_has_a_place(self) -> Text:
        if self.template is not None and self.template.count("{}") != 1:
            raise ValueError(f"template {self.template!r} must have the caption's place {{}} once")
        if self.template is None and (self.drop_tokens or self.keep_start_token):
            raise ValueError(
                "drop_tokens and keep_start_token are of a template, and there is none"
            )
        return self

    @model_validator(mode="after")
    def _t5_needs_range(self) -> Text:
        if self.compute_dtype == "fp16" and "t5" in self.model.lower():
            raise ValueError("T5 and UMT5 overflow in fp16 (NaN or zeros): use bf16 or fp32")
        return self


_SIZE_WORD = re.compile(r"[0-9]+([xX][0-9]+)?")


def _size(value: object) -> object:
    """512, "512", "720x1280" (height x width) or [720, 1280] -> (height, width)."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        if not _SIZE_WORD.fullmatch(value.strip()):
            raise ValueError("give a size as N or HxW, such as 512 or 720x1280")
        height, _, width = value.strip().lower().partition("x")
        return (height, width or height)
    return value


def _sizes(value: object) -> object:
    """One size, or a list of sizes, as ``_size`` reads them."""
    if isinstance(value, (list, tuple)):
        return tuple(_size(size) for size in value)
    return (_size(value),)


_Side = Annotated[int, Field(gt=0, le=16384)]


_Size = Annotated[tuple[_Side, _Side], BeforeValidator(_size)]


class Frames(_Section):
    """Which frames of a video become a sample; an image is one frame whatever is said here. See
    docs/video.md.
    """

    #: head: the first frames; uniform: spread over the whole video; chunks: all frames, as
    #: consecutive clips; images: every frame a sample; clip: from the metadata's start to its end,
    #: one clip or several.
    mode: Literal["head", "uniform", "chunks", "images", "clip"] = "head"
    #: Of one sample, at most; what there is, is cut to the encoder's rule (1 + n * temporal
    #: factor), never padded.
    num_frames: int = Field(default=1, gt=0)
    #: resampled to this by timestamps; None: the own frames
    fps: float | None = Field(default=None, gt=0, le=1000)
    #: samples made of one video, at most; more in the metadata are a reject
    max_clips: int = Field(default=16, gt=0)
    #: Keys of mode "clip" in the metadata, instead of the usual ones (docs/video.md): of a pair or
    #: a list of pairs, or of start and end.
    span_key: str | None = None
    start_key: str | None = None
    end_key: str | None = None


class Resize(_Section):
    """How pixels come to the size the encoder sees."""

    mode: Literal["bucket", "crop", "fit", "stretch", "none"] = "bucket"
    resolution: _Size = (512, 512)  #: (height, width)
    #: Further latents of the same sample, stored as parts of their own: "256.pth" beside "512.pth".
    more_resolutions: Annotated[tuple[_Size, ...], BeforeValidator(_sizes)] = ()
    patch: int = Field(default=2, gt=0)  #: latent height and width become multiples of this
    max_aspect: float = Field(default=2.0, ge=1)  #: the widest and the tallest bucket
    #: all antialiased, as Pillow has them
    filter: Literal["lanczos", "bicubic", "bilinear", "box"] = "lanczos"
    #: JPEG is decoded reduced while this times the target size is left
    draft_gap: float = Field(default=1.5, ge=1)
    min_size: int = Field(default=0, ge=0)  #: samples with a shorter side are rejected


class Filters(_Section):
    """Which samples are wanted; others are rejected at stage "filter". See also
    ``resize.min_size``.
    """

    min_frames: int = Field(default=1, gt=0)  #: of a clip, as it is stored; images are always taken
    #: of a video, or of the clip that the metadata name
    min_seconds: float | None = Field(default=None, ge=0)
    #: of a video, on average, before ``frames.fps``
    min_fps: float | None = Field(default=None, ge=0)
    #: Longer to shorter side of the original; ``resize.max_aspect`` is of the buckets and rejects
    #: nothing.
    max_aspect: float | None = Field(default=None, ge=1)


class Limits(_Section):
    """Caps on input, against decompression bombs and runaway files."""

    max_bytes: int = Field(default=256 * 2**20, gt=0)  #: of one media file
    max_pixels: int = Field(default=200_000_000, gt=0)  #: of one frame, before resizing
    max_seconds: float = Field(default=24 * 3600.0, gt=0)  #: of one video


def _part(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]+([.][a-z0-9_-]+)*", name) or len(name) > 40:
        raise ValueError(
            'give "media", "caption" or a part\'s name such as "mask.png" (a-z 0-9 _ - .)'
        )
    return name


class Recipe(_Section):
    """Encoders, preprocessing and target: what a dataset is made with."""

    name: str
    description: str = ""
    target: str  #: the trainer's contract: a name in energon_prep.targets, or a class of your own
    #: repository (or folder) of a diffusers pipeline that has the encoders below
    pipeline: str | None = None
    visual: Visual
    text: tuple[Text, ...] = Field(min_length=1)
    resize: Resize = Resize()
    frames: Frames = Frames()
    filters: Filters = Filters()
    #: Originals that are kept in the tar beside the encodings: "media", "caption", and further
    #: parts of the source's samples by name, such as "mask.png".
    carry: tuple[Annotated[str, AfterValidator(_part)], ...] = ()
    limits: Limits = Limits()
    allow_empty_captions: bool = False
    #: Samples in a batch, of whatever size, in the place of batch_pixels and batch_tokens; "auto":
    #: found by trial.
    batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] | None = None
    samples_per_shard: int = Field(default=1000, gt=0)
    #: samples of a shard that are batched together and held in memory
    window: int = Field(default=256, gt=0)
    seed: int = Field(default=0, ge=0)  #: of every random draw (posterior samples)

    @model_validator(mode="after")
    def _names_differ(self) -> Recipe:
        names = [text.name for text in self.text]
        if len(set(names)) != len(names):
            raise ValueError(f"two text encoders have the same name: {', '.join(names)}")
        return self
