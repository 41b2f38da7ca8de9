"""`python -m tests.fuzz.differential`: random bake definitions to bakepy and to buildx; every difference is shown.

    python -m tests.fuzz.differential --buildx PROGRAM [--seed 1] [--count 1000] expressions
    python -m tests.fuzz.differential --buildx PROGRAM [--seed 1] [--count 1000] --cases FOLDER cases

`expressions`: so many expressions, fifty to a file. `cases`: so many changed conformance cases, from the folders below
FOLDER. Needs buildx, but no daemon. What buildx fails on by a mistake of its own is left out. Exit status 1 if there are
differences.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.fuzz.differential import mutation
from tests.fuzz.differential.expressions import expressions, file_of
from tests.fuzz.differential.sides import Answer, Buildx, Invocation, ask_bakepy

T = TypeVar("T")
BATCH = 50
OWN_MISTAKES = re.compile(
    r"panic|fatal error|variable cycle not allowed for|out of time|goroutine stack|negative index|after <nil>|failed to open open"
)
"""What buildx says where it fails by a mistake of its own. An unknown name is a "cycle" at its second mention; 0.29 has
no negative index of element(), opens outputs when it prints, and fails on one side of && and ||."""


def compare_expressions(buildx: Buildx, folder: Path, given: list[str]) -> Iterator[str]:
    """What differs between the two in a file of expressions."""
    path = folder / "docker-bake.hcl"
    path.write_text(file_of(given, whole=False), encoding="utf-8")
    invocation = Invocation(folder, environment={"HOME": str(buildx.home)})
    theirs, ours = buildx.ask(invocation), ask_bakepy(invocation)
    if ours.crash or (ours.text is None) != (theirs.text is None):
        if len(given) > 1:
            half = len(given) // 2
            yield from compare_expressions(buildx, folder, given[:half])
            yield from compare_expressions(buildx, folder, given[half:])
        elif ours.crash or not OWN_MISTAKES.search(theirs.message):
            yield f"{given[0]}\n  buildx: {told(theirs)}\n  bakepy: {told(ours)}"
    elif theirs.text is None and len(given) > 1:
        half = len(given) // 2
        yield from compare_expressions(buildx, folder, given[:half])
        yield from compare_expressions(buildx, folder, given[half:])
    elif theirs.text is not None and ours.text is not None and theirs.text != ours.text:
        expected, found = (json.loads(each)["target"]["default"]["args"] for each in (theirs.text, ours.text))
        for position, each in enumerate(given):
            name = f"e{position}"
            if expected.get(name) != found.get(name):
                reason = _why(buildx, folder, each, position)
                if OWN_MISTAKES.search(reason[0]) or (
                    re.search(r"&&|\|\|", each) and "ERR" in (expected.get(name) or "")
                ):
                    continue
                yield f"{each}\n  buildx: {expected.get(name)}{reason[0]}\n  bakepy: {found.get(name)}{reason[1]}"


def _why(buildx: Buildx, folder: Path, expression: str, position: int) -> tuple[str, str]:
    """The errors behind it, without `try`."""
    text = file_of(["null"] * (position % 4) + [expression], whole=True)
    (folder / "docker-bake.hcl").write_text(text, encoding="utf-8")
    theirs, ours = buildx.ask(Invocation(folder)), ask_bakepy(Invocation(folder))
    return tuple("" if each.text is not None else f"   [{told(each)}]" for each in (theirs, ours))  # type: ignore[return-value]


def told(answer: Answer) -> str:
    text = answer.message if answer.text is None else answer.text
    return text.strip()[:1500].replace("\n", "\n          ")


def run_expressions(buildx: Buildx, random: Random, count: int, folder: Path) -> Iterator[str]:
    for _ in range(0, count, BATCH):
        yield from compare_expressions(buildx, folder, expressions(random, BATCH))


def run_cases(buildx: Buildx, random: Random, count: int, top: Path, cases: Path) -> Iterator[str]:
    corpus = mutation.Corpus.read(cases)

    def ask(number: int) -> tuple[mutation.Mutant, Invocation, Answer]:
        mutant = corpus.mutant(Random(f"{random.random()} {number}"))
        invocation = mutant.write(top / str(number))
        return mutant, invocation, buildx.ask(invocation)

    for mutant, invocation, theirs in _ahead(ask, range(count)):
        ours = ask_bakepy(invocation)
        if difference := _difference(buildx, invocation, ours, theirs):
            yield f"{mutant.told()}\n{difference}"
        mutation.remove(invocation.folder, top)


def _difference(buildx: Buildx, invocation: Invocation, ours: Answer, theirs: Answer) -> str:
    if not ours.crash and ours.text == theirs.text:
        return ""
    if not ours.crash and theirs.text is None and OWN_MISTAKES.search(theirs.message):
        return ""
    if ours.text is not None and theirs.text is not None:
        if _settled(ours.text) == _settled(theirs.text):
            return ""
        again = {buildx.ask(invocation).text for _ in range(4)}
        if len(again | {theirs.text}) > 1:
            return ""  # left to chance
        import difflib

        lines = difflib.unified_diff(
            theirs.text.splitlines(), ours.text.splitlines(), "buildx", "bakepy", n=1, lineterm=""
        )
        return "\n".join(islice(lines, 60))
    return f"  buildx: {told(theirs)}\n  bakepy: {told(ours)}"


def _settled(text: str) -> object:
    """`--list` in columns: runs of blanks do not count."""
    return text if text.lstrip().startswith(("{", "[")) else [each.split() for each in text.splitlines()]


def _ahead(ask: Callable[[int], T], numbers: Iterable[int]) -> Iterator[T]:
    """Results in order, a few of them asked for before they are needed."""
    with ThreadPoolExecutor(2) as pool:
        waiting: list[Future[T]] = []
        for number in numbers:
            waiting.append(pool.submit(ask, number))
            if len(waiting) > 4:
                yield waiting.pop(0).result()
        for each in waiting:
            yield each.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buildx", type=Path, required=True)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--cases", type=Path, help="conformance cases")
    parser.add_argument("what", choices=("expressions", "cases"))
    options = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory(prefix="bakepy-differential-") as name:
        top = Path(name).resolve()
        (top / "home").mkdir()
        (top / "work").mkdir()
        buildx = Buildx(options.buildx.resolve(), top / "home")
        random = Random(options.seed)
        if options.what == "cases":
            differences = run_cases(buildx, random, options.count, top / "work", options.cases.resolve())
        else:
            differences = run_expressions(buildx, random, options.count, top / "work")
        for each in differences:
            found += 1
            print(f"--- {found}\n{each}", flush=True)
    print(f"{found} differences in {options.count} {options.what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
