"""`make fuzz`: every target for some minutes under libFuzzer, guided by what runs.

    python -m tests.fuzz [--minutes 10] [--seeds FOLDER] [--keep] [TARGET ...]

Begins with tests/fuzz/corpus and, with --seeds, with the files below FOLDER that are of the target's kind. With --keep
the few files that reach the most are kept in tests/fuzz/corpus. Exit status 1 if something was found; the input lies in
build/fuzz/TARGET then, and belongs into the corpus once it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from tests.fuzz.minimise import minimised
from tests.fuzz.targets import TARGETS, Target

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
WORK = HERE.parent.parent / "build" / "fuzz"
LARGEST = 2048
SECONDS = 60
MEGABYTES = 2000
KEPT = 40


def seeds(folder: Path, target: Target) -> list[bytes]:
    """Small files of the target's kind."""
    found = (each for each in sorted(folder.rglob("*")) if each.is_file() and each.name.endswith(target.suffixes))
    return [data for each in found if target.suffixes and len(data := each.read_bytes()) <= LARGEST]


def store(folder: Path, contents: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for data in contents:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def fuzz(name: str, minutes: float, seed_folder: Path | None) -> bool:
    """Whether nothing was found."""
    target, work = TARGETS[name], WORK / name
    store(work / "corpus", [each.read_bytes() for each in (CORPUS / name).glob("*")])
    if seed_folder is not None:
        store(work / "corpus", seeds(seed_folder, target))
    words = work / "words"
    words.write_text("".join(f'"{escaped(each)}"\n' for each in target.words), encoding="ascii")
    command = [
        sys.executable, "-m", "tests.fuzz.run", name, str(work / "corpus"), f"-max_total_time={round(minutes * 60)}",
        f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LARGEST}", f"-artifact_prefix={work}/", f"-dict={words}",
        "-print_final_stats=1", "-reload=0", "-verbosity=0",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, check=False)
    log = done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
    (work / "log").write_text(log, encoding="utf-8")
    runs = next((each.split()[-1] for each in log.splitlines() if "number_of_executed_units" in each), "?")
    print(
        f"{name:<12} {runs:>9} inputs: {'nothing found' if done.returncode == 0 else 'FOUND, see ' + str(work)}",
        flush=True,
    )
    if done.returncode != 0:
        print("\n".join(log.splitlines()[-40:]))
    return done.returncode == 0


def escaped(text: str) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(chr(each) if 32 <= each < 127 and each not in b'"\\' else f"\\x{each:02X}" for each in text.encode())


def keep(name: str) -> None:
    """Chooses what is kept in the repository, from what is there and what was found."""
    folder = CORPUS / name
    given = [
        each.read_bytes() for place in (folder, WORK / name / "corpus") if place.is_dir() for each in place.iterdir()
    ]
    kept = minimised(TARGETS[name].run, given, KEPT)
    for each in folder.glob("*"):
        if not each.name.startswith("found-"):  # those are kept for what they once found
            each.unlink()
    store(folder, kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    options = parser.parse_args()
    good = True
    for name in options.targets or TARGETS:
        good = fuzz(name, options.minutes, options.seeds) and good
        if options.keep:
            keep(name)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
