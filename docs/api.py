"""Makes api.md, the library's reference, from its signatures and docstrings.

python -m docs.api          prints the page
python -m docs.api --write  puts it into api.md
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import energon_prep
from docs.pages import Page, arguments
from energon_prep.options import meanings
from energon_prep.run.options import EncodeOptions

PAGE = Page("api.md")

INTRO = """\
# The library

Made by docs/api.py from the code.

The verbs of `import energon_prep` take the command line's options by the same names, with
underscores for dashes:

```python
import energon_prep

if __name__ == "__main__":  # for a script that starts a process for each device
    report = energon_prep.encode(
        "PHOTOS",
        "ENCODED",
        recipe="dit",
        weights="tiny",
        resolution=64,
        set={"text.max_tokens": 226},
        split="8,1,1",
        torch_threads=1,
    )
    print(report.num_written, report.rejects)
    assert energon_prep.verify("ENCODED").ok
```

What may be said several times on the command line is a list here (`resolution=[256, 512]`),
`--set` and `--subflavor` are mappings. A misspelt option is a TypeError that names the nearest;
type checkers know all of them (`py.typed`).

Only the command line has `--json`, `--dry-run`, which is the verb `dry_run`, and `index --fix`,
which is `repair` and then `index`. Only the library has `progress`, and `timeout` and `tell` of
`index`. In a notebook progress is shown without asking: as a bar with ipywidgets, which most
notebooks have, and as a line now and then without.
"""


def page() -> str:
    """api.md as it is to be."""
    parts = [
        INTRO,
        *_verb(energon_prep.encode, short="source, dest, **options"),
        *_options(),
        *_fields(energon_prep.EncodeReport),
        *_verb(energon_prep.dry_run, short="source, dest, **options"),
        "The options are those of `encode`.\n",
        *_fields(energon_prep.DryRun),
        *_verb(energon_prep.index),
        *_fields(energon_prep.IndexReport),
        *_verb(energon_prep.verify),
        *_fields(energon_prep.VerifyReport),
        *_verb(energon_prep.repair),
        *_fields(energon_prep.RepairReport),
        *_verb(energon_prep.load_recipe),
        "## Errors\n",
        *(
            f"`{error.__name__}`: {_prose(inspect.getdoc(error))}"
            for error in (energon_prep.PrepError, energon_prep.SampleError)
        ),
    ]
    return "\n".join(parts)


def _verb(verb: Callable[..., Any], *, short: str | None = None) -> Iterator[str]:
    signature = inspect.signature(verb)
    if short is None:
        told = "".join(f"    {line},\n" for line in _told(signature))
        call = f"{verb.__name__}(\n{told})"
    else:
        call = f"{verb.__name__}({short})"
    yield f"## {verb.__name__}\n"
    yield f"```python\n{call} -> {str(signature.return_annotation).strip(chr(39))}\n```\n"
    yield _prose((inspect.getdoc(verb) or "").partition("\n\nOptions:")[0])


def _told(signature: inspect.Signature) -> Iterator[str]:
    """A line for each parameter, with its annotation as it is written in the code."""
    keywords = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            yield "*"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        yield f"{parameter.name}: {parameter.annotation}{default}"


def _options() -> Iterator[str]:
    signature = inspect.signature(EncodeOptions)
    yield "| option | type | default | meaning |\n|---|---|---|---|"
    for name, meaning in meanings(EncodeOptions).items():
        parameter = signature.parameters[name]
        kind = str(parameter.annotation).replace("|", "\\|")
        default = repr(parameter.default)
        yield f"| `{name}` | `{kind}` | `{default}` | {_escaped(meaning)} |"
    yield "\n`Names` is one name, or a sequence of them.\n"


def _fields(report: type) -> Iterator[str]:
    yield f"### {report.__name__}\n"
    yield _prose(inspect.getdoc(report))
    yield "| field | type | meaning |\n|---|---|---|"
    for name, kind, meaning in documented_fields(report):
        yield f"| `{name}` | `{_escaped(kind)}` | {_escaped(meaning)} |"
    methods = [
        f"- `{name}()`: {_prose(inspect.getdoc(value)).strip()}"
        for name, value in vars(report).items()
        if inspect.isfunction(value) and not name.startswith("_") and inspect.getdoc(value)
    ]
    yield "\n" + "\n".join(methods) + "\n" if methods else ""


def documented_fields(report: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and the words behind ``#:`` of each field of a dataclass."""
    source = textwrap.dedent(inspect.getsource(report))
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign):
            continue
        words = re.findall(r"#: (.*)", lines[node.lineno - 1])
        above = node.lineno - 2
        while not words[1:] and (said := re.fullmatch(r"\s+#:? (.*)", lines[above])):
            words.insert(0, said[1])
            above -= 1
            if lines[above + 1].lstrip().startswith("#: "):
                break
        yield ast.unparse(node.target), ast.unparse(node.annotation), " ".join(words)


def _prose(text: str | None) -> str:
    """A docstring as Markdown."""
    return (text or "").replace("``", "`") + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def main() -> None:
    PAGE.offer(page(), write=arguments(__doc__).parse_args().write)


if __name__ == "__main__":
    main()
