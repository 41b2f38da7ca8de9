"""Where values were written, also for a process that has not read the files."""

from __future__ import annotations

import pickle

from bakepy.bakefile.load import LoadOptions, load
from bakepy.bakefile.places import portable
from bakepy.model.location import Position, SourceFile

HCL = """
target "base" {
  args = { A = "1", B = "2" }
  tags = ["x:1"]
}
target "app" {
  inherits = ["base"]
  args = { B = "3", "C" = "4" }
  matrix = { v = ["1", "2"] }
  name = "app-${v}"
  tags = ["y:${v}", "z:${v}"]
}
group "default" { targets = ["app"] }
"""
PATHS = ["", "args", "args.A", "args.B", "args.C", "args.D", "tags", "tags[0]", "tags[1]", "tags[2]", "context", "name"]


def test_portable_places_are_the_same_ones() -> None:
    files = [SourceFile("a.hcl", HCL), SourceFile("b.json", '{"target": {"base": {"args": {"A": "9"}}}}')]
    bake_file = load(files, LoadOptions(overrides=("app-1.args.B=5",)))
    carried = pickle.loads(pickle.dumps(portable(bake_file)))
    assert carried == bake_file
    for name, target in bake_file.targets.items():
        for path in PATHS:
            assert carried.targets[name].locations.get(path) == target.locations.get(path), (name, path)
    assert carried.targets["app-1"].locations["args.C"].start == Position(8, 27)


def test_portable_files_refer_to_no_syntax_tree() -> None:
    data = pickle.dumps(portable(load([SourceFile("a.hcl", HCL)], LoadOptions())))
    assert b"bakepy.bakefile" not in data
