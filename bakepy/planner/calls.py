"""What Dockerfiles answer when nothing is to be built: findings of the build checks, parameters, stages.

Targets that ask the same of the same Dockerfile share one answer. Linked targets are compiled, because the checks
look at what stages build on; the asking targets themselves are not lowered to a graph.

What a call looks at: BuildKit `frontend/dockerfile/builder/build.go` (HandleSubrequest). Unlike there, the first
platform that a target names is the one that is looked at, so that a base image that only exists for it can be checked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import field, replace

from bakepy.dockerfile.checks import Warning
from bakepy.dockerfile.compile import Compilation
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.outline import Outline, TargetInfo
from bakepy.errors import BakeError
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.target import BakeFile
from bakepy.model.value import dataclass
from bakepy.planner.compiling import (
    Compiler,
    Failures,
    ImageResolver,
    PlanOptions,
    Unit,
    link_levels,
    read_targets,
)
from bakepy.planner.files import FileReader
from bakepy.planner.remote import RemoteReader
from bakepy.planner.settings import TargetSettings
from bakepy.planner.sources import Sources

CHECK, OUTLINE, TARGETS = "check", "outline", "targets"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one Dockerfile answered.

    `targets` are those that asked; `inline`: the Dockerfile stands in the bake file. `warnings` are of a check, in the
    order in which they were found; `error` tells why the build would fail.
    """

    method: str
    targets: tuple[str, ...]
    file: SourceFile
    inline: bool = False
    warnings: tuple[Warning, ...] = ()
    outline: Outline | None = None
    stages: tuple[TargetInfo, ...] = ()
    error: BakeError | None = None


@dataclass(slots=True)
class _Question:
    """What one or more targets ask; `broken` is the error of a linked target that they need."""

    method: str
    unit: Unit
    setting: TargetSettings
    broken: BakeError | None = None
    targets: list[str] = field(default_factory=list)


async def answer_calls(
    bake: BakeFile,
    methods: Mapping[str, str],
    *,
    files: FileReader,
    resolve: ImageResolver,
    options: PlanOptions | None = None,
    remote: RemoteReader | None = None,
) -> tuple[Answer, ...]:
    """Answers `methods` (by target: check, outline or targets), in the order of the targets.

    Raises DefinitionError(s) for what is wrong with the bake file; what is wrong with Dockerfiles and images is in
    the answers.
    """
    options = options or PlanOptions()
    sources, failures = Sources(files), Failures()
    levels = link_levels(bake, failures)
    if remote is not None:
        await sources.remote.load(bake.targets, remote)
    settings = read_targets(bake, sources, options, failures)
    failures.raise_any(bake.targets)
    compiler = Compiler(resolve, sources.layouts, settings, failures, remote)
    needed = {other for setting in settings.values() for other in setting.links.values()}
    for level in levels:
        await compiler.compile([name for name in level if name in needed])
    questions: dict[Hashable, _Question] = {}
    for name, method in methods.items():
        _ask(questions, compiler, failures, settings[name], method)
    await compiler.provide_images(
        question.unit for question in questions.values() if question.method != TARGETS and question.broken is None
    )
    return _merged(_answer(question, compiler) for question in questions.values())


def _ask(
    questions: dict[Hashable, _Question], compiler: Compiler, failures: Failures, setting: TargetSettings, method: str
) -> None:
    name = setting.target.name
    lowering = _what_matters(setting, method)
    broken = next((other for other in setting.links.values() if not compiler.compiled(other)), None)
    identity: Hashable = broken
    if broken is None and method != TARGETS:
        linked, identity = compiler.linked(setting, lowering.platform)
        lowering_with_links = replace(lowering, contexts=FrozenMap({**lowering.contexts, **linked}))
    else:
        lowering_with_links = lowering
    key = (method, id(setting.dockerfile), lowering if method != TARGETS else None, identity)
    if key not in questions:
        unit = Unit(Compilation(setting.dockerfile, lowering_with_links, compiler.images), [setting.target])
        error = failures.by_target[broken][0] if broken is not None and method != TARGETS else None
        questions[key] = _Question(method, unit, setting, error)
    questions[key].targets.append(name)


def _what_matters(setting: TargetSettings, method: str) -> LowerOptions:
    """The options without those that change neither findings nor parameters."""
    options = setting.for_platform(setting.platforms[0])
    plain = LowerOptions()
    return replace(
        options,
        all_stages=method == CHECK and not options.target,
        labels=plain.labels,
        multi_platform=plain.multi_platform,
        no_cache=plain.no_cache,
        no_cache_filter=plain.no_cache_filter,
        network=plain.network,
        extra_hosts=plain.extra_hosts,
        ulimits=plain.ulimits,
        shm_size=plain.shm_size,
        hostname=plain.hostname,
        cgroup_parent=plain.cgroup_parent,
        resources=plain.resources,
        cache_namespace=plain.cache_namespace,
    )


def _answer(question: _Question, compiler: Compiler) -> Answer:
    compilation = question.unit.compilation
    answer = Answer(
        question.method,
        tuple(question.targets),
        compilation.parsed.file,
        bool(question.setting.target.dockerfile_inline),
        error=question.broken,
    )
    if question.broken is not None:
        return answer
    try:
        match question.method:
            case "outline":
                return replace(answer, outline=compilation.outline())
            case "targets":
                return replace(answer, stages=compilation.parsed.targets())
    except BakeError as error:
        return replace(answer, error=compiler.as_caused(error, question.unit))
    result = compilation.check()
    return replace(
        answer,
        warnings=tuple(dict.fromkeys(result.warnings)),
        error=result.error and compiler.as_caused(result.error, question.unit),
    )


def _merged(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Answers of one Dockerfile that say the same are one (a matrix whose arguments change nothing here)."""
    found: dict[Hashable, Answer] = {}
    for answer in answers:
        said = answer.error.render() if answer.error else None
        key = (answer.method, answer.file, answer.file.text, answer.warnings, answer.outline, answer.stages, said)
        known = found.get(key)
        found[key] = answer if known is None else replace(known, targets=(*known.targets, *answer.targets))
    return tuple(found.values())
