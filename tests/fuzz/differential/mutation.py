"""Conformance cases, changed at random: their own lines, values, flags and files, put elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.differential.expressions import HEADER, Expressions
from tests.fuzz.differential.sides import Invocation

OWN_FILES = ("case.json", "expected.json", "expected-error.json", "expected.txt")
ATTRIBUTE = re.compile(r"^([ \t]*)([\w-]+|\"[^\"]*\")[ \t]*=[ \t]*(\S.*)$")
YAML_LINE = re.compile(r"^([ ]*)(- )?([\w./-]+):(?:[ ]+(\S.*))?$")
HEADS = re.compile(r'^\s*(target|group|variable|function)\s+"?([\w.-]+)"?\s*\{', re.M)
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w-]*|\d+(?:\.\d+)?|[^\s\w]')
LONE_FLAGS = ("--push", "--load", "--no-cache", "--pull", "--check", "--print")
VALUES = [
    '""', '"x"', "[]", '["x"]', "{}", "null", "true", "false", "0", "1", "-1", "1.5", '"a,b"', '["a", "b", "a"]', '{ a = "b" }', "[1, true]", "[null]",
    '"${1 + 1}"', '["type=registry,ref=x"]', '[{ type = "local", dest = "o" }]', '["linux/amd64", "linux/arm64"]', '{ a = null }', "[[]]",
    '"cwd://x"', '"target:a"', '"docker-image://x"', '"https://github.com/a/b.git#main"', '["type=env,id=x"]', '["default"]', "try(nope, 1)", '"../x"',
]  # fmt: skip
OUTSIDE = [
    "",
    "1",
    "a,b",
    "true",
    "k:v,k2:v2",
    '{"a":1}',
    '["x"]',
    "null",
    "1.5",
    "x",
    "0",
    "[1,2]",
    '"q"',
    "a:b:c",
    " 1",
    "1e3",
    '{"value":1,"type":"number"}',
    "t",
    "é",
    "${x}",
    "a\nb",
]
SETS = [
    "{t}.args.A=1", "{t}.args.A", "{t}.tags=x", "{t}.tags+=y", "{t}.platform=linux/arm64", "{t}.output=type=local,dest=o", "{t}.cache-from+=x", "{t}.cache-to=type=inline",
    "{t}.contexts.c=target:b", "{t}.labels.a.b=c", "{t}.no-cache", "{t}.no-cache=true", "{t}.pull=x", "{t}.target=s", "{t}.context=c", "{t}.dockerfile=D", "{t}.secrets=id=a,src=Dockerfile",
    "{t}.ssh=default", "{t}.attest=type=sbom", "{t}.attest=type=provenance,mode=max", "{t}.entitlements=network.host", "{t}.network=none", "{t}.shm-size=1g", "{t}.ulimits=nofile=1:2",
    "{t}.annotations=a=b", "{t}.push=true", "{t}.load=true", "{t}.push=false", "{t}.extra-hosts.h=1.2.3.4", "{t}.call=check", "{t}.dockerfile-inline=FROM x", "{t}.inherits=x", "{t}.no-cache-filter=a",
    "{t}.description=d", "{t}.args=", "{t}.tags=", "{t}.output=", "{t}.platform=", "{t}.args.=x", "{t}.", "{t}", "{t}.tags", "{t}.nope=1", "=x", ".tags=x", "{t}.annotations+=index:a=b", "{t}.extra-hosts=h=1",
    "{t}.output=type=docker", "{t}.output=-", "{t}.output=o", "{t}.output+=type=registry", "{t}.cache-from=a,b", "{t}.secret=id=x", "{t}.output=type=image,name=a,push=true", "{t}.args.A=${X}",
]  # fmt: skip
UNKNOWN_TO_SOME = re.compile(
    r"resources|policy|semvercmp|formattimestamp|unixtimestampparse|\.secret\.|--var\b|bcrypt|uuidv4|timestamp\(|FILE_RELATIVE|VARS_ENV_LOOKUP"
)
"""Newer than the buildx that people can install, or left to chance."""

Files = dict[str, bytes]


@dataclass(slots=True)
class Mutant:
    """A case: its files, its command line, and what was done to it."""

    name: str
    files: Files
    arguments: list[str]
    environment: dict[str, str]
    cwd: str
    stdin: bytes
    changes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Invocation:
        (folder / self.cwd).mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return Invocation(folder / self.cwd, self.arguments, self.environment, self.stdin)

    def told(self) -> str:
        lines = [
            f"{self.name} args={self.arguments} env={ {k: v for k, v in self.environment.items() if k != 'HOME'} }",
            *(f"  {each}" for each in self.changes),
        ]
        return "\n".join(lines)

    def text(self, name: str) -> str:
        return self.files[name].decode("utf-8", "replace")

    def put(self, name: str, text: str, change: str) -> None:
        self.files[name] = text.encode()
        self.changes.append(f"{name}: {change}")

    def names(self, kind: str) -> list[str]:
        """Targets, groups or variables of the files, as far as they are easily seen."""
        found: list[str] = []
        for name, data in self.files.items():
            if name.endswith((".hcl", ".json")) or "." not in name:
                found += [each[1] for each in HEADS.findall(data.decode("utf-8", "replace")) if each[0] == kind]
        return found


class Corpus:
    """All cases, and what they are made of."""

    def __init__(self, cases: Sequence[Mutant]) -> None:
        self.cases = list(cases)
        self.values: dict[str, list[str]] = defaultdict(list)
        self.lines: list[str] = []
        self.yaml: dict[str, list[str]] = defaultdict(list)
        self.flags: list[list[str]] = []
        self.json: list[Any] = []
        for case in cases:
            self.flags += _flags(case.arguments)
            for name, data in case.files.items():
                text = data.decode("utf-8", "replace")
                if name.endswith(".hcl"):
                    for line in text.splitlines():
                        if (found := ATTRIBUTE.match(line)) and _balanced(found[3]) and len(line) < 200:
                            self.values[found[2]].append(found[3])
                            self.lines.append(line.strip())
                elif name.endswith((".yml", ".yaml")):
                    for line in text.splitlines():
                        if (found := YAML_LINE.match(line)) and found[4]:
                            self.yaml[found[3]].append(found[4])
                elif name.endswith(".json"):
                    try:
                        _parts(json.loads(text), self.json)
                    except ValueError:
                        continue

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """All cases below `folder`, but those that need what an older buildx has not."""
        cases = []
        for path in sorted(folder.rglob("case.json")):
            meta = json.loads(path.read_text(encoding="utf-8"))
            files = {
                str(each.relative_to(path.parent)): each.read_bytes()
                for each in sorted(path.parent.rglob("*"))
                if each.is_file() and not each.is_symlink() and each.name not in OWN_FILES
            }
            everything = "\n".join(each.decode("utf-8", "replace") for each in files.values()) + json.dumps(meta)
            if UNKNOWN_TO_SOME.search(everything) or len(everything) > 20_000:
                continue
            environment = {**meta.get("env", {})}
            stdin = files.get(meta["stdin"], b"") if meta.get("stdin") else b""
            cases.append(Mutant(path.parent.name, files, meta["args"], environment, meta.get("cwd", "."), stdin))
        return cls(cases)

    def mutant(self, random: Random) -> Mutant:
        """A case with one to three changes."""
        case = random.choice(self.cases)
        mutant = Mutant(case.name, dict(case.files), list(case.arguments), dict(case.environment), case.cwd, case.stdin)
        for _ in range(random.choice((1, 1, 2, 3))):
            random.choice(self.changes(mutant))(mutant, random)
        if UNKNOWN_TO_SOME.search("\n".join([*mutant.changes, *mutant.arguments])):
            return self.mutant(random)
        return mutant

    def changes(self, mutant: Mutant) -> list[Callable[[Mutant, Random], None]]:
        """What can be changed in a case; the common things several times."""
        found: list[Callable[[Mutant, Random], None]] = [
            self.change_flags,
            self.change_environment,
            self.change_targets,
            self.change_set,
        ]
        for name, data in mutant.files.items():
            if not data:
                continue
            if name.endswith(".hcl"):
                for change in (
                    [self.change_hcl] * 6 + [self.insert_hcl] * 2 + [self.change_tokens] * 2 + [self.put_expression] * 2
                ):
                    found.append(lambda mutant, random, name=name, change=change: change(mutant, random, name))  # type: ignore[misc]
            elif name.endswith((".yml", ".yaml")):
                for change in [self.change_yaml] * 8 + [self.change_tokens]:
                    found.append(lambda mutant, random, name=name, change=change: change(mutant, random, name))  # type: ignore[misc]
            elif name.endswith(".json"):
                for change in [self.change_json] * 5 + [self.change_tokens]:
                    found.append(lambda mutant, random, name=name, change=change: change(mutant, random, name))  # type: ignore[misc]
        return found

    # -- the command line

    def change_flags(self, mutant: Mutant, random: Random) -> None:
        flag = random.choice(self.flags)
        mutant.arguments += flag
        mutant.changes.append(f"flags {flag}")

    def change_set(self, mutant: Mutant, random: Random) -> None:
        target = random.choice([*mutant.names("target"), "*", "*", "default", "a"])
        text = random.choice(SETS).replace("{t}", target)
        mutant.arguments += ["--set", text]
        mutant.changes.append(f"--set {text}")

    def change_targets(self, mutant: Mutant, random: Random) -> None:
        names = [*mutant.names("target"), *mutant.names("group"), "default", "*", "nope"]
        mutant.arguments.append(random.choice(names))
        mutant.changes.append(f"target {mutant.arguments[-1]}")

    def change_environment(self, mutant: Mutant, random: Random) -> None:
        name = random.choice(
            [*mutant.names("variable"), *mutant.names("variable"), "SOURCE_DATE_EPOCH", "TAG", "A"]
        ) + random.choice(["", "", "_JSON"])
        mutant.environment[name] = random.choice(OUTSIDE)
        mutant.changes.append(f"env {name}={mutant.environment[name]!r}")

    # -- HCL

    def change_hcl(self, mutant: Mutant, random: Random, name: str) -> None:
        """A line: another value, gone, doubled, elsewhere."""
        lines = mutant.text(name).splitlines()
        at = random.randrange(len(lines)) if lines else 0
        line = lines[at] if lines else ""
        found = ATTRIBUTE.match(line)
        if found and _balanced(found[3]) and random.random() < 0.8:
            pool = (
                self.values[found[2]]
                if random.random() < 0.7
                else random.choice([VALUES, random.choice(list(self.values.values()))])
            )
            lines[at] = f"{found[1]}{found[2]} = {random.choice(pool or VALUES)}"
            change = f"{line.strip()!r} -> {lines[at].strip()!r}"
        elif _balanced(line):
            if random.random() < 0.5:
                del lines[at : at + 1]
                change = f"without {line.strip()!r}"
            else:
                lines.insert(random.randrange(len(lines) + 1), line)
                change = f"again {line.strip()!r}"
        else:
            other = HEADS.search(line)
            if other is None:
                return self.insert_hcl(mutant, random, name)
            to = random.choice([*mutant.names(other[1]), "default", "a", "x.y"])
            lines[at] = line.replace(other[2], to, 1)
            change = f"{line.strip()!r} -> {lines[at].strip()!r}"
        mutant.put(name, "\n".join(lines) + "\n", change)
        return None

    def insert_hcl(self, mutant: Mutant, random: Random, name: str) -> None:
        """A line of another file after the head of a block."""
        lines = mutant.text(name).splitlines()
        heads = [n for n, each in enumerate(lines) if each.rstrip().endswith("{")]
        at = random.choice(heads) if heads else 0
        new = random.choice(self.lines)
        lines.insert(at + 1, new)
        mutant.put(name, "\n".join(lines) + "\n", f"after line {at + 1}: {new!r}")

    def put_expression(self, mutant: Mutant, random: Random, name: str) -> None:
        """A random expression as the value of an attribute."""
        lines = mutant.text(name).splitlines()
        places = [n for n, each in enumerate(lines) if (found := ATTRIBUTE.match(each)) and _balanced(found[3])]
        if not places:
            return self.insert_hcl(mutant, random, name)
        at = random.choice(places)
        found = ATTRIBUTE.match(lines[at])
        assert found is not None
        kind = random.choice(["l", "ls", "m", "s", "n", "b", "a"])
        expression = Expressions(random).make(kind, 2)
        lines[at] = f"{found[1]}{found[2]} = {expression}"
        mutant.put(name, "\n".join(lines) + "\n" + HEADER, f"{found[2]} = {expression}")
        return None

    def change_tokens(self, mutant: Mutant, random: Random, name: str) -> None:
        """A token in the place of another one, doubled or gone."""
        text = mutant.text(name)
        tokens = list(TOKEN.finditer(text))
        if not tokens:
            return
        one, other = random.choice(tokens), random.choice(tokens)
        new = random.choice([other[0], other[0], "", one[0] * 2])
        mutant.put(name, text[: one.start()] + new + text[one.end() :], f"at {one.start()}: {one[0]!r} -> {new!r}")

    # -- compose and JSON

    def change_yaml(self, mutant: Mutant, random: Random, name: str) -> None:
        lines = mutant.text(name).splitlines()
        at = random.randrange(len(lines)) if lines else 0
        line = lines[at] if lines else ""
        found = YAML_LINE.match(line)
        action = random.random()
        if found and found[4] and action < 0.5:
            pool = self.yaml[found[3]] if random.random() < 0.6 else random.choice(list(self.yaml.values()))
            pool = [
                *pool,
                "",
                "null",
                "[]",
                "{}",
                "x",
                "1",
                "true",
                "[a, b]",
                "{a: b}",
                "${A:-x}",
                "yes",
                "0x10",
                "1.50",
                "'q'",
                "~",
                "2024-01-02",
                "!!str 1",
                "!reset null",
                "&x y",
            ]
            lines[at] = f"{found[1]}{found[2] or ''}{found[3]}: {random.choice(pool)}"
            change = f"{line.strip()!r} -> {lines[at].strip()!r}"
        elif action < 0.65:
            del lines[at : at + 1]
            change = f"without {line.strip()!r}"
        elif action < 0.75:
            lines.insert(random.randrange(len(lines) + 1), line)
            change = f"again {line.strip()!r}"
        else:
            key = random.choice(list(self.yaml))
            indent = re.match(r" *", line)
            assert indent is not None
            lines.insert(at, f"{indent[0]}{key}: {random.choice(self.yaml[key])}")
            change = f"at line {at + 1}: {lines[at]!r}"
        mutant.put(name, "\n".join(lines) + "\n", change)

    def change_json(self, mutant: Mutant, random: Random, name: str) -> None:
        try:
            whole = json.loads(mutant.text(name))
        except ValueError:
            return self.change_tokens(mutant, random, name)
        places: list[tuple[Any, Any]] = []
        _places(whole, places)
        if not places:
            return None
        container, key = random.choice(places)
        new = random.choice(
            [
                *random.sample(self.json, 5),
                None,
                "",
                "x",
                1,
                1.5,
                True,
                [],
                {},
                ["a"],
                {"a": "b"},
                "${1+1}",
                [{}],
                [[]],
                "a,b",
            ]
        )
        change = f"{key!r}: {json.dumps(container[key])[:60]} -> {json.dumps(new)[:60]}"
        if random.random() < 0.2:
            del container[key]
            change = f"without {key!r}"
        else:
            container[key] = new
        mutant.put(name, json.dumps(whole, indent=1, ensure_ascii=False), change)
        return None


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found.append((value, key))
        _places(each, found)


def _parts(value: Any, found: list[Any]) -> None:
    found.append(value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if len(json.dumps(each)) < 300:
            _parts(each, found)


def _flags(arguments: Sequence[str]) -> list[list[str]]:
    """Flags with their values; no files."""
    found: list[list[str]] = []
    position = 0
    while position < len(arguments):
        each = arguments[position]
        alone = each in LONE_FLAGS or "=" in each or not each.startswith("-")
        taken = [each] if alone else list(arguments[position : position + 2])
        position += len(taken)
        if each not in ("-f", "--file") and not each.startswith("--list"):
            found.append(taken)
    return found


def _balanced(text: str) -> bool:
    return (
        not any(text.count(a) - text.count(b) for a, b in ("()", "[]", "{}"))
        and text.count('"') % 2 == 0
        and "<<" not in text
    )


def remove(folder: Path, top: Path) -> None:
    """Removes the folder below `top` that `folder` is in."""
    while folder.parent != top:
        folder = folder.parent
    shutil.rmtree(folder, ignore_errors=True)
