"""One target under libFuzzer: `python -m tests.fuzz.run TARGET [FOLDER...] [-flag=value...]`. Started by `tests.fuzz`."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import atheris

with atheris.instrument_imports(include=["bakepy"]):
    import bakepy.bakefile
    import bakepy.dockerfile
    from tests.fuzz.targets import TARGETS

    # what is imported late, too: only what is imported here is watched
    for _package in (bakepy.bakefile, bakepy.dockerfile):
        for _module in pkgutil.walk_packages(_package.__path__, _package.__name__ + "."):
            import_module(_module.name)


def main() -> None:
    name, arguments = sys.argv[1], sys.argv[2:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
