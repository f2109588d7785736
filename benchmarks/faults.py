"""The fault campaign: ``python -m benchmarks.faults`` puts faults into encode and index, hundreds
of times.

``--scale 0.05`` is the small form that the tests run. What each trial must show is in
tests/faults/trials.py.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.faults.campaign import prepare
from tests.faults.scenarios import scenarios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", default="", help="scenarios whose names this regular expression finds"
    )
    parser.add_argument("--folder", help="where to work; a file system in memory is faster")
    parser.add_argument("--json", action="store_true", help="the outcomes as JSON")
    args = parser.parse_args()
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="faults-", dir=args.folder) as home:
        campaign = prepare(Path(home), args.seed)
        for name, scenario in scenarios(args.scale).items():
            if not re.search(args.only, name):
                continue
            started = time.monotonic()
            outcome = scenario(campaign)
            if outcome is None:
                print(f"{name:<36} not possible here", file=sys.stderr)
                continue
            outcomes[name] = asdict(outcome)
            told = (
                f"{outcome.trials} trials, {outcome.disturbed} disturbed, "
                f"{len(outcome.problems)} problems"
            )
            print(f"{name:<36} {told}, {time.monotonic() - started:.0f} s", file=sys.stderr)
            for problem in outcome.problems[:5]:
                print(f"    {problem}", file=sys.stderr)
    if args.json:
        print(json.dumps(outcomes))
    return int(any(outcome["problems"] for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
