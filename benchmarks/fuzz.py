"""Feeds every parser of ours with bytes that a coverage-guided fuzzer makes of sound ones; `make
fuzz` runs it.

It needs atheris, which nothing else does: pip install atheris (in a virtual environment of its own
that also sees these packages, if you like). Each parser has a process of its own, with a cap on
memory and 2 s for each input:

    python -m benchmarks.fuzz [--seconds 60] [--into build/fuzz] [PARSER ...]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

_DEADLINE = 2  #: seconds for one input
_MEMORY_MB = 3072  #: of a process, of which the libraries take the first gigabyte


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("parsers", nargs="*", help="by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each parser")
    parser.add_argument(
        "--into", type=Path, default=Path("build/fuzz"), help="where findings and inputs of note go"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("the fuzzer is missing: pip install atheris", file=sys.stderr)
        return 1
    if options.child:
        return _fuzz(options.parsers[0], options.into, options.seconds)
    from tests.fuzz.parsers import PARSERS

    failed = 0
    for name in options.parsers or PARSERS:
        failed += not _run(name, options.into, options.seconds)
    return 1 if failed else 0


def _run(name: str, into: Path, seconds: int) -> bool:
    """Fuzz one parser in a process of its own; print what came of it."""
    into.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.fuzz",
        name,
        "--child",
        "--into",
        into,
        "--seconds",
        str(seconds),
    ]
    log = into / f"{name}.log"
    started = time.monotonic()
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    summary = into / f"{name}.json"
    told = json.loads(summary.read_text()) if summary.exists() else {"inputs": "?", "findings": []}
    state = "ok" if code == 0 and not told["findings"] else f"exit code {code}, see {log}"
    print(
        f"{name:<14} {told['inputs']:>9} inputs {time.monotonic() - started:6.0f} s  {state}",
        flush=True,
    )
    for finding in told["findings"]:
        print(f"    {finding}", flush=True)
    return state == "ok"


def _fuzz(name: str, into: Path, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["energon_prep", "cookers", "PIL", "yaml", "tarfile"]):
        from tests.fuzz.parsers import FAULTS, PARSERS
        from tests.fuzz.seeds import remove_content
    parser = PARSERS[name]
    corpus = into / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    findings = _Findings(name, into)

    def feed(data: bytes) -> None:
        findings.count()
        before = time.process_time()
        try:
            parser.feed(data, scratch)
        except FAULTS:
            pass
        except Exception as error:  # noqa: BLE001 - any other is a finding
            findings.note(error, data)
        finally:
            remove_content(scratch)
        if time.process_time() - before > _DEADLINE:
            findings.note(TimeoutError(f"{time.process_time() - before:.1f} s"), data)

    _limit_memory()
    atheris.Setup(_arguments(name, into, corpus, seconds), feed)
    findings.save()
    try:
        atheris.Fuzz()
    finally:
        findings.save()
    return 0


class _Findings:
    """What one parser was fed and what came of it, on disk even if the process is killed."""

    def __init__(self, name: str, into: Path) -> None:
        self.name, self.into = name, into
        self.inputs = 0
        self.found: list[str] = []
        self.started = time.monotonic()

    def count(self) -> None:
        self.inputs += 1
        if self.inputs % 500 == 0:
            self.save()

    def note(self, error: Exception, data: bytes) -> None:
        """Keep the input and the traceback of the first error of its type and place."""
        what = f"{type(error).__name__} {_place(error)}"
        if what in self.found:
            return
        stem = f"{self.name}-{len(self.found)}"
        self.found.append(what)
        (self.into / f"{stem}.bin").write_bytes(data)
        (self.into / f"{stem}.txt").write_text("".join(traceback.format_exception(error)))
        self.save()

    def save(self) -> None:
        report = {
            "inputs": self.inputs,
            "seconds": round(time.monotonic() - self.started),
            "findings": self.found,
        }
        (self.into / f"{self.name}.json").write_text(json.dumps(report))


def _place(error: Exception) -> str | None:
    """FILE:LINE of the innermost line of ours."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "/energon_prep/" in frame.filename or "/cookers/" in frame.filename:
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return None


def _limit_memory() -> None:
    """To what this process has by now and _MEMORY_MB more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + _MEMORY_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _arguments(name: str, into: Path, corpus: Path, seconds: int) -> list[str]:
    """For libFuzzer."""
    return [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={seconds}",
        # a machine may be slow; slower than _DEADLINE of processor time is a finding
        f"-timeout={5 * _DEADLINE}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={into}/{name}-",
        "-max_len=200000",
        "-print_final_stats=1",
    ]


if __name__ == "__main__":
    sys.exit(main())
