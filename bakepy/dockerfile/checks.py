"""Build checks: the rules, which of them run, and the warnings they give.

Names and messages are those of BuildKit's checks, so that `# check=skip=…` and tools that read warnings work alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace

from bakepy.dockerfile.directives import DirectiveReader
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.text import SPACE, parse_bool, quote
from bakepy.model.value import dataclass

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"


@dataclass(frozen=True, slots=True)
class Rule:
    """`description` says in one line what the rule is about. Experimental rules run only on request."""

    name: str
    description: str
    page: str = ""
    experimental: bool = False

    @property
    def url(self) -> str:
        return f"{_DOCS}{self.page}/" if self.page else ""


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("StageNameCasing", "names of stages are lower case", "stage-name-casing"),
        Rule("FromAsCasing", "FROM and AS are written in the same case", "from-as-casing"),
        Rule("NoEmptyContinuation", "no empty line inside a continued instruction", "no-empty-continuation"),
        Rule("ConsistentInstructionCasing", "all instructions of a file are written in the same case",
             "consistent-instruction-casing"),
        Rule("DuplicateStageName", "each stage has a name of its own", "duplicate-stage-name"),
        Rule("ReservedStageName", "'scratch' and 'context' are no names for stages", "reserved-stage-name"),
        Rule("JSONArgsRecommended", "CMD and ENTRYPOINT as JSON lists pass signals on", "json-args-recommended"),
        Rule("MaintainerDeprecated", "a label has replaced MAINTAINER", "maintainer-deprecated"),
        Rule("UndefinedArgInFrom", "FROM uses only arguments that are declared before it", "undefined-arg-in-from"),
        Rule("WorkdirRelativePath", "the first WORKDIR of a stage is absolute", "workdir-relative-path"),
        Rule("UndefinedVar", "variables are set before they are used", "undefined-var"),
        Rule("MultipleInstructionsDisallowed", "CMD, ENTRYPOINT and HEALTHCHECK count once per stage",
             "multiple-instructions-disallowed"),
        Rule("LegacyKeyValueFormat", "ENV and LABEL are written as NAME=VALUE", "legacy-key-value-format"),
        Rule("InvalidBaseImagePlatform", "the base image is for the platform that was asked for"),
        Rule("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM is the default", "redundant-target-platform"),
        Rule("SecretsUsedInArgOrEnv", "secrets do not belong into ARG or ENV", "secrets-used-in-arg-or-env"),
        Rule("InvalidDefaultArgInFrom", "FROM is valid with the default values of its arguments",
             "invalid-default-arg-in-from"),
        Rule("FromPlatformFlagConstDisallowed", "FROM --platform is not a constant",
             "from-platform-flag-const-disallowed"),
        Rule("CopyIgnoredFile", "what is copied is not excluded by the ignore file", "copy-ignored-file"),
        Rule("InvalidDefinitionDescription", "a comment above FROM or ARG begins with the name it describes",
             "invalid-definition-description", experimental=True),
        Rule("ExposeProtoCasing", "protocols in EXPOSE are lower case", "expose-proto-casing"),
        Rule("ExposeInvalidFormat", "EXPOSE has neither addresses nor host ports", "expose-invalid-format"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Warning:
    """One finding."""

    rule: Rule
    message: str
    location: Location

    @property
    def line(self) -> int:
        return self.location[0].start.line if self.location else 0


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """What `# check=` says. `error`: warnings fail the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental_all: bool = False
    error: bool = False

    @classmethod
    def parse(cls, text: str) -> CheckConfig:
        """Reads `skip=A,B;error=true;experimental=all`. Raises DockerfileError."""
        config = cls()
        for part in text.strip(SPACE).split(";", 2) if text.strip(SPACE) else ():
            key, equals, value = part.partition("=")
            key, value = key.strip(SPACE), value.strip(SPACE)
            names = frozenset(name.strip(SPACE) for name in value.split(","))
            match key if equals else "":
                case "skip" if value == "all":
                    config = replace(config, skip_all=True)
                case "skip":
                    config = replace(config, skip=names)
                case "experimental" if value == "all":
                    config = replace(config, experimental_all=True)
                case "experimental":
                    config = replace(config, experimental=names)
                case "error" if (flag := parse_bool(value)) is not None:
                    config = replace(config, error=flag)
                case _:
                    raise DockerfileError(f"invalid check option {quote(part)}",
                                          hint="options are skip=RULES, experimental=RULES and error=true")  # fmt: skip
        return config

    def runs(self, rule: Rule) -> bool:
        if rule.experimental:
            return self.experimental_all or rule.name in self.experimental
        return not self.skip_all and rule.name not in self.skip


class ChecksFailed(DockerfileError):
    """Checks found something in a file that wants that to be an error (`# check=error=true`)."""


@dataclass(slots=True)
class Checker:
    """Takes warnings and keeps those of rules that run."""

    config: CheckConfig = field(default_factory=CheckConfig)
    warnings: list[Warning] = field(default_factory=list)
    silent: bool = False
    """Behind an error nothing is warned of."""

    def warn(self, rule: str, message: str, location: Location) -> None:
        if not self.silent and self.config.runs(RULES[rule]):
            self.warnings.append(Warning(RULES[rule], message, location))

    def merged(self, comments: Iterable[str]) -> Checker:
        """For an instruction below comments like `check=skip=RULE`; warnings go to the same list."""
        for comment in comments:
            if "=" not in comment:
                continue
            found = DirectiveReader(comment="").read(comment)
            if found is None or found[0] != "check":
                continue
            try:
                other = CheckConfig.parse(found[1].partition(" ")[0])
            except DockerfileError:
                return self
            mine = self.config
            config = replace(
                mine,
                skip=mine.skip | other.skip,
                experimental=mine.experimental | other.experimental,
                skip_all=mine.skip_all or other.skip_all,
                experimental_all=mine.experimental_all or other.experimental_all,
            )
            return Checker(config, self.warnings, self.silent)
        return self
