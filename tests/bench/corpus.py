"""The real bake files among the conformance cases, as command lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BakeCase:
    """One case: where it runs and what it is given. Other flags than these are not measured."""

    folder: Path
    cwd: Path
    environment: dict[str, str]
    files: tuple[str, ...]
    overrides: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> BakeCase:
        """Raises ValueError for other flags."""
        case = json.loads((folder / "case.json").read_text())
        found: dict[str, list[str]] = {"-f": [], "--set": [], "": []}
        words = iter(case["args"])
        for word in words:
            if word.startswith("-") and (word not in found or case.get("stdin")):
                raise ValueError(f"{folder.name} has {word}")
            found[word if word in found else ""].append(next(words) if word in found else word)
        cwd = folder / case.get("cwd", ".")
        return cls(folder, cwd, case.get("env", {}), tuple(found["-f"]), tuple(found["--set"]), tuple(found[""]))

    @property
    def arguments(self) -> list[str]:
        files = [word for file in self.files for word in ("-f", file)]
        overrides = [word for text in self.overrides for word in ("--set", text)]
        return [*files, *overrides, *self.targets]


def real_cases(folder: Path) -> list[BakeCase]:
    """Those that are real and plain, in order of their names; also those of the pool."""
    found = []
    for path in sorted([*folder.glob("real-*/case.json"), *folder.glob("pool/real-*/case.json")]):
        try:
            found.append(BakeCase.read(path.parent))
        except ValueError:
            continue
    return found
