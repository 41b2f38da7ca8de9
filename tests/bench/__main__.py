"""`make bench`: medians of pairs beside the peers, in one run.

    python -m tests.bench --shared ../shared [--peers PREFIX] [--pairs 5] [--write docs/benchmarks.md] [CASE ...]

Needs root, a network to the package registries once (to install the peers), and a few minutes. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import cases, peer
from tests.bench.bench import Bench
from tests.bench.compiling import slowest
from tests.bench.measure import Result

REPOSITORY = Path(__file__).parent.parent.parent
TABLES = {
    **dict.fromkeys(("steps", "matrix", "context", "debian", "pull"), "engine"),
    **{name: name for name in ("growth", "language", "compile")},
}
"""Cases whose results stand in a table of their own, by its name; the others share the first one, which has none."""


def table(results: list[Result], versions: str) -> str:
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; {versions}",
        "",
        "| what | bakepy | peer | peer is | ratio | goal | pairs |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: |",
        *(result.row() for result in results),
    ]
    return "\n".join(lines)


def written(page: str, name: str, text: str) -> str:
    """The page with `text` between the two marks of that name."""
    begin, end = f"<!-- begin: make bench{name and ' ' + name} -->", f"<!-- end: make bench{name and ' ' + name} -->"
    head, found, rest = page.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared")
    parser.add_argument("--peers", type=Path, default=Path(os.environ.get("PEERS", REPOSITORY / "build/peers")))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--write", type=Path, help="replace the table in this page")
    parser.add_argument("chosen", nargs="*", metavar="CASE", help=f"of {', '.join(cases.ALL)}")
    options = parser.parse_args()
    script = options.shared.resolve() / "tools/peers.sh"
    if not script.exists():
        print(f"no peers at {options.shared}: skipped")
        return 0
    tables: dict[str, list[Result]] = {}
    texts: dict[str, str] = {}
    with (
        peer.started(script, options.peers.resolve()) as peers,
        tempfile.TemporaryDirectory(prefix="bakepy-bench-", ignore_cleanup_errors=True) as name,
    ):
        versions = subprocess.run(
            [str(peers.buildx), "version"], capture_output=True, text=True, env=peers.environment, check=True
        ).stdout.strip()
        corpus = options.shared.resolve() / "conformance"
        bench = Bench.prepare(Path(name), peers, REPOSITORY, corpus, options.pairs)
        for case in options.chosen or cases.ALL:
            for result in cases.ALL[case](bench):
                print(result.row(), flush=True)
                tables.setdefault(TABLES.get(case, ""), []).append(result)
            if case == "compile":
                texts["slowest"] = slowest(bench)
                print(texts["slowest"], flush=True)
    texts |= {title: table(results, versions) for title, results in tables.items()}
    if options.write:
        page = options.write.read_text()
        for title, text in texts.items():
            page = written(page, title, text)
        options.write.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
