"""What has to be downloaded for a recipe, told before anything is downloaded or loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energon_prep.encoders.checkpoint import EncoderSource
from energon_prep.encoders.hub import is_reachable, transport_errors
from energon_prep.encoders.locate import locate
from energon_prep.encoders.needed_files import lacking_folders, needed_files
from energon_prep.encoders.repositories import REPOSITORIES, smaller_place
from energon_prep.errors import PrepError
from energon_prep.recipes.model import Recipe

_HUB = "https://huggingface.co"
_GIGABYTE = 10**9
_TIMEOUT = 10.0  #: seconds, for the hub to say what it has


@dataclass(frozen=True, kw_only=True)
class Download:
    """What a recipe's encoders need of one repository."""

    repository: str
    encoders: tuple[str, ...]  #: "visual" and names of text encoders
    num_bytes: int | None  #: of the files that are read; None: unknown
    num_cached: int = 0  #: of them, in the hub's local cache
    exact: bool = False  #: as the hub says it; else about
    licence: str = ""  #: "": unknown
    gated: bool = False  #: the files are given to those alone who have accepted the licence
    smaller: str = ""  #: another repository with the same model, and its size
    problem: str = ""  #: why it cannot be had, and what can be done; "": it can

    @property
    def num_missing(self) -> int | None:
        return None if self.num_bytes is None else max(self.num_bytes - self.num_cached, 0)


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """A repository's files, of the hub or, where that is out of reach, of its cache."""

    sizes: dict[str, int | None]  #: by name
    commit: str | None
    online: bool
    licence: str = ""
    gated: bool = False
    problem: str = ""


def catalogued_downloads(recipe: Recipe, *, weights: str | None = None) -> list[Download]:
    """What is known without asking anybody; nothing for folders and for weights that are built."""
    return [
        _catalogued(place[0], named) for place, named in _by_repository(recipe, weights).items()
    ]


def plan_downloads(recipe: Recipe, *, weights: str | None) -> list[Download]:
    """As ``catalogued_downloads``, with what the hub says, if it can be reached, and with what its
    cache holds.

    Downloads nothing. What cannot be had says so in ``problem``. Raises PrepError for names that
    are none.
    """
    places = _by_repository(recipe, weights)
    downloads, online = [], bool(places) and is_reachable()
    for (repository, revision), named in places.items():
        known = _catalogued(repository, named)
        listing = _ask_hub(repository, revision) if online else None
        listing = listing or _look_in_cache(repository, revision)
        online = listing.online
        downloads.append(_planned(known, listing, [source for _, source in named]))
    return downloads


def refuse_incomplete_cache(recipe: Recipe, *, weights: str | None) -> None:
    """Raise PrepError if there is to be no network (HF_HUB_OFFLINE) and the hub's cache lacks
    files.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        refuse_problems(plan_downloads(recipe, weights=weights))


def refuse_problems(downloads: Sequence[Download]) -> None:
    """Raise PrepError for those that cannot be had."""
    problems = [download.problem for download in downloads if download.problem]
    if problems:
        raise PrepError("; ".join([*problems, "--weights tiny tries the tool without them"]))


def gigabytes(num_bytes: int, *, exact: bool = True) -> str:
    """10**9 bytes, to a tenth; small ones to a hundredth."""
    size = num_bytes / _GIGABYTE
    return (
        f"{'' if exact else 'about '}{size:.1f} GB"
        if size >= 1
        else f"{'' if exact else 'about '}{size:.2f} GB"
    )


def _by_repository(
    recipe: Recipe, weights: str | None
) -> dict[tuple[str, str | None], list[tuple[str, EncoderSource]]]:
    """Encoders, by name, of each repository and revision."""
    found: dict[tuple[str, str | None], list[tuple[str, EncoderSource]]] = {}
    names = ["visual", *(text.name for text in recipe.text)]
    for name, source in zip(names, locate(recipe, weights=weights), strict=True):
        if source.is_on_hub:
            found.setdefault((source.location, source.revision), []).append((name, source))
    return found


def _catalogued(repository: str, named: Sequence[tuple[str, EncoderSource]]) -> Download:
    encoders = tuple(name for name, _ in named)
    known = REPOSITORIES.get(repository)
    if known is None:
        return Download(repository=repository, encoders=encoders, num_bytes=None)
    places = {next((s for s in source.subfolders if s in known.parts), None) for _, source in named}
    parts = [known.parts[place] for place in sorted(place for place in places if place is not None)]
    whole = None not in places
    others = [smaller_place(part.alias, part.gigabytes) for part in parts]
    return Download(
        repository=repository,
        encoders=encoders,
        num_bytes=round(sum(part.gigabytes for part in parts) * _GIGABYTE) if whole else None,
        licence=known.licence,
        gated=known.gated,
        smaller=", ".join(f"{hf_id} ({size:.1f} GB)" for hf_id, size in filter(None, others)),
    )


def _planned(known: Download, listing: _Listing, sources: Sequence[EncoderSource]) -> Download:
    """``known``, corrected by what is in the ``listing``."""
    needed = {
        name: listing.sizes[name]
        for source in sources
        for name in needed_files(source, listing.sizes)
    }
    cached = {
        name: size
        for name in needed
        if (size := _cached_size(known.repository, name, listing.commit))
    }
    download = dataclasses.replace(
        known,
        num_cached=sum(cached.values()),
        licence=known.licence or listing.licence,
        gated=listing.gated if listing.online and listing.sizes else known.gated,
    )
    missing = [name for name in needed if name not in cached]
    lacking = list(
        dict.fromkeys(f for source in sources for f in lacking_folders(source, listing.sizes))
    )
    if listing.online:
        # Of a repository whose files are named in another way than here, the catalogue's size is
        # the better guess.
        if needed and not lacking:
            download = dataclasses.replace(
                download, num_bytes=sum(s or 0 for s in needed.values()), exact=True
            )
        return dataclasses.replace(
            download, problem=listing.problem if missing or not needed else ""
        )
    if not missing and not lacking:
        return dataclasses.replace(download, num_bytes=download.num_cached, exact=True)
    return dataclasses.replace(download, problem=_offline_problem(download, missing, lacking))


def _offline_problem(download: Download, missing: list[str], lacking: list[str]) -> str:
    """``missing``: files; ``lacking``: subfolders whose files' names are not known."""
    lacks = ", ".join([*missing, *(f"{folder}/" if folder else "the model" for folder in lacking)])
    words = missing
    if lacking:
        words = [
            f"--include '{name}'" for name in [*(f"{folder}/*" for folder in lacking), *missing]
        ]
    if "" in lacking:
        words = ["--exclude '*.h5' --exclude '*.msgpack'"]  # those of other frameworks
    visual = "visual" in download.encoders
    option = (
        "--weights" if visual and len(download.encoders) > 1 else "--vae" if visual else "--model"
    )
    accepted = (
        f" and its licence is accepted ({_HUB}/{download.repository})" if download.gated else ""
    )
    return (
        f"no hub can be reached, and its local cache lacks {lacks} of {download.repository}: "
        f"where there is a network{accepted}, run `hf download {download.repository} "
        f"{' '.join(words)}`; on another machine with --local-dir DIR, and name DIR with {option}"
    )


def _ask_hub(repository: str, revision: str | None) -> _Listing | None:
    """What the hub says of a repository; None: it cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

    listing = _Listing(sizes={}, commit=None, online=True)
    try:
        info = HfApi().model_info(
            repository, revision=revision, files_metadata=True, timeout=_TIMEOUT
        )
        listing = _Listing(
            sizes={file.rfilename: file.size for file in info.siblings or []},
            commit=info.sha,
            online=True,
            licence=str(getattr(info.card_data, "license", None) or ""),
            gated=bool(info.gated),
        )
        if info.gated:
            HfApi().auth_check(repository)
    except GatedRepoError:
        return dataclasses.replace(listing, gated=True, problem=_no_access(repository))
    except (HfHubHTTPError, HFValidationError) as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status == 429 or status >= 500:
            # too busy to say: the catalogue's sizes are told, and loading asks again
            return listing
        return dataclasses.replace(listing, problem=_refused(repository, error))
    except transport_errors():
        return None
    return listing


def _refused(repository: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return (
        f"{repository} cannot be had ({reason}): see that its name is right, or `hf auth "
        "login` if it is private"
    )


def _no_access(repository: str) -> str:
    return (
        f"the licence of {repository} is to be accepted first: do so at {_HUB}/{repository}, "
        "then log in with `hf auth login` or set HF_TOKEN to a token of that account"
    )


def _look_in_cache(repository: str, revision: str | None) -> _Listing:
    """What is in the hub's cache, and the shards that an index in it names."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    commit = revision or "main"
    with contextlib.suppress(OSError):
        commit = (folder / "refs" / commit).read_text().strip()
    snapshot = folder / "snapshots" / commit
    sizes: dict[str, int | None] = {}
    for path in snapshot.rglob("*") if snapshot.is_dir() else ():
        if path.is_file():
            sizes[path.relative_to(snapshot).as_posix()] = path.stat().st_size
    for index in [name for name in sizes if name.endswith(".index.json")]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            shards = set(json.loads((snapshot / index).read_bytes())["weight_map"].values())
            for shard in sorted(shards):
                sizes.setdefault((Path(index).parent / str(shard)).as_posix(), None)
    return _Listing(sizes=sizes, commit=commit, online=False)


def _cached_size(repository: str, name: str, commit: str | None) -> int | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name, revision=commit)
    return Path(path).stat().st_size if isinstance(path, str) else None
