"""`python -m tests.kill [--times N] [--seed N]`: kills bakes and says what was wrong; status 1 if something was."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.kill.campaign import Campaign
from tests.kill.victim import Project
from tests.support.base_image import write_base_image


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name)
        write_base_image(folder / "base")
        project = Project.make(folder / "project", [str(Path(sys.executable).parent / "bakepy")], folder / "base")
        campaign = Campaign(project, folder, arguments.seed)
        print(f"seed {arguments.seed}; an undisturbed bake takes {campaign.seconds:.2f} s", flush=True)
        result = campaign.run(arguments.times, lambda line: print(line, flush=True))
    print(f"{len(result.blows)} kills, {len(result.wrong)} wrong")
    for line in result.wrong:
        print(line)
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
