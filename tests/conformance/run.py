"""Runs the conformance cases beside the checkout and compares the counts with `floors.toml`.

    python -m tests.conformance.run --shared ../shared [bake|dockerfile|build ...]

Where there are no cases it says so and succeeds; below a floor it fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tomli

from tests.support import ordinary_user

ROOTLESS = "-rootless"
"""At the end of a suite's name: run as an ordinary user who has ids lent."""

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
FAILED = re.compile(r"^FAIL ([^:\s]+):", re.MULTILINE)
COUNT = re.compile(r"(?:^|(?<= ))([a-z-]+) (\d+)/(\d+)")


def command(suite: str, cases: Path, jobs: int) -> list[str]:
    """The runner's command line for a suite; the commands under test come from the current environment."""
    runner = [sys.executable, str(cases / f"run_{suite}.py")]
    match suite:
        case "bake":
            return [*runner, "--cmd", "bakepy bake --print", "-j", str(jobs), str(cases / suite)]
        case "dockerfile":
            adapter = f"{sys.executable} -m tests.conformance.llb"
            return [*runner, "--cmd", adapter, "--jobs", str(jobs), "--dir", str(cases / suite)]
        case _:
            return [*runner, "--cmd", "bakepy build", "-j", str(jobs), str(cases / suite)]


def counts(output: str) -> dict[str, tuple[int, int]]:
    """Passed and total of each column, from the runner's summary: its last line that holds counts, and one with more
    of them ("also: ") above it."""
    lines = [line for line in output.splitlines() if COUNT.search(line)]
    found = [
        pair for line in lines[-2:] if line is lines[-1] or line.startswith("also: ") for pair in COUNT.findall(line)
    ]
    return {name: (int(passed), int(total)) for name, passed, total in found}


def run(suite: str, cases: Path, floor: dict[str, int], jobs: int, verbose: bool) -> bool:
    """Runs one suite, prints its counts beside the floors; False below a floor."""
    rootless = suite.endswith(ROOTLESS)
    with tempfile.TemporaryDirectory(prefix="bakepy-conformance-") as folder:
        root = Path(folder, "state")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "BAKEPY_ROOT": str(root),
        }
        words = command(suite.removesuffix(ROOTLESS), cases, jobs)
        if rootless and os.geteuid() == 0:
            Path(folder).chmod(0o755)
            Path(folder, "tmp").mkdir()
            Path(folder, "tmp").chmod(0o1777)
            environment["TMPDIR"] = str(Path(folder, "tmp"))
            words = ordinary_user.command(Path(folder), *words)
        result = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if verbose:
        print(result.stdout, end="")
    found = counts(result.stdout)
    good = True
    for name, least in floor.items():
        passed, total = found.get(name, (0, 0))
        good = good and total > 0 and passed >= least
        print(f"{suite:<10} {name:<11} {passed:>5}/{total:<5} floor {least}{'' if passed >= least else '  BELOW'}")
    if rootless:
        known = tomli.loads((HERE / "rootless.toml").read_text())
        for case in FAILED.findall(result.stdout):
            reason = known[case]["reason"] if case in known else "NOT EXPECTED, see rootless.toml"
            print(f"{suite:<10} failed  {case}: {reason}")
    if not good:
        print(result.stdout[-6000:], result.stderr[-2000:], sep="\n")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", "--verbose", action="store_true", help="name the failing cases")
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    options = parser.parse_args()
    cases = options.shared.resolve() / "conformance"
    if not cases.is_dir():
        print(f"no conformance cases at {options.shared}: skipped")
        return 0
    floors = tomli.loads((HERE / "floors.toml").read_text())
    chosen = options.suites or list(floors)
    results = [run(suite, cases, floors[suite], options.jobs, options.verbose) for suite in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
