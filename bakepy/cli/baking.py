"""From a BakeFile to images: plans, builds, exports, publishes, and tells how it went."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bakepy.cli import metadata, report, terminal
from bakepy.cli.amounts import counted, size_text
from bakepy.cli.channel import Channel, Planned, Wanted
from bakepy.cli.interrupt import Interruption, interruptible
from bakepy.cli.job import BakeOptions
from bakepy.cli.journaling import Journaling
from bakepy.cli.resolving import resolver
from bakepy.engine import collection
from bakepy.engine.embedded import Embedded
from bakepy.engine.protocol import FAILED, SUCCEEDED, Outcome, SolveOptions
from bakepy.errors import BakeError, EngineError
from bakepy.events import Emit, Event
from bakepy.exporter.preflight import DELETE, check_outputs, check_platforms, insecure_registries
from bakepy.model.digest import Digest
from bakepy.model.target import BakeFile
from bakepy.planner.plan import Plan
from bakepy.progress import Display, open_display
from bakepy.progress.record import RunRecord
from bakepy.registry import lookups
from bakepy.session.secrets import SecretProvider
from bakepy.session.ssh import AgentProvider
from bakepy.solver.groups import single_error

if TYPE_CHECKING:
    from bakepy.exporter.exporter import Exporter


def bake(bake_file: BakeFile, options: BakeOptions, channel: Channel | None = None) -> int:
    """Bakes; returns the exit status. Raises BakeError for what is wrong before anything is built. At the other end of
    `channel` is who makes the plan."""
    return anyio.run(_bake, bake_file, options, channel)


def show_plan(bake_file: BakeFile, options: BakeOptions, form: str) -> int:
    """Prints a view of the plan, `text`, `json` or `dot`, with what the engine knows already."""
    from bakepy.planner import views

    plan, cached = anyio.run(_plan_and_look, bake_file, options)
    print({"text": views.as_text, "json": views.as_json, "dot": views.as_dot}[form](plan, cached))
    return 0


async def _plan_and_look(bake_file: BakeFile, options: BakeOptions) -> tuple[Plan, Mapping[Digest, bool]]:
    from bakepy.cli.planning import plan_with

    async with Embedded.open(options.root, environment=options.environment) as engine:
        plan = await plan_with(engine, bake_file, options)
        return plan, await engine.cached(plan)


async def plan_only(bake_file: BakeFile, options: BakeOptions) -> Plan:
    """Plans for somebody who builds nothing."""
    from bakepy.cli.planning import plan_with

    async with Embedded.open(options.root, environment=options.environment) as engine:
        return await plan_with(engine, bake_file, options)


async def _bake(bake_file: BakeFile, options: BakeOptions, channel: Channel | None) -> int:
    targets = [target for target in bake_file.targets.values() if not target.linked]
    collection.check(options.environment)
    check_outputs(targets, stdout_is_terminal=sys.stdout.isatty(), delete_allowed=DELETE in options.grants)
    if not options.single:
        metadata.check_files(bake_file.targets.values(), options.metadata_file, options.directory)
    engine_open = Embedded.open(options.root, environment=options.environment, insecure=insecure_registries(targets))
    async with interruptible() as interruption, engine_open as engine:
        record = RunRecord()
        for line in engine.mended if options.talks else ():
            terminal.warn(line)
        names = [target.name for target in targets]
        with Journaling(options.root, options.directory, options.request, names) as journal:
            status = EngineError.exit_code  # unless it comes to another end
            try:
                with _display(bake_file, options) as display:
                    emit = _each(record, display, journal)
                    plan = await _plan(engine, bake_file, options, emit, channel)
                    check_platforms(
                        (planned.target, [one.platform for one in planned.platforms], planned.multi_platform)
                        for planned in plan.targets
                        if not planned.target.linked
                    )
                    run = _Run(engine, plan, options, interruption, record, emit, journal)
                    await run.build()
                status = run.conclude()
            except BakeError as error:
                status = error.exit_code
                raise
            finally:
                journal.end(interruption.status or status)
                _tell_left_out(engine, options)
    if not interruption.status:
        await anyio.to_thread.run_sync(_collect, options, abandon_on_cancel=True)
    return interruption.status or status


def _tell_left_out(engine: Embedded, options: BakeOptions) -> None:
    if (left_out := engine.snapshots.left_out) and options.talks:
        origin, path = left_out[0]
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        terminal.warn(
            f"device files of images were left out, an ordinary user can not make them: /{os.fsdecode(path)}{more}"
            f" ({origin.partition('://')[2] or 'a layer'})"
        )


def _collect(options: BakeOptions) -> None:
    """Makes the state root smaller if it has become too large; what goes wrong there is no failure of the run."""
    try:
        done = collection.collect(options.root, options.environment)
    except (BakeError, OSError) as error:
        terminal.warn(
            f"the state root can not be made smaller: {error.what if isinstance(error, BakeError) else error}"
        )
        return
    if done is not None and options.talks:
        tally, held = done
        print(
            f"removed {counted(tally.counts)} from the state root; {size_text(tally.bytes)} of {size_text(held)}",
            file=sys.stderr,
        )


def _display(bake_file: BakeFile, options: BakeOptions) -> Display:
    several = len(bake_file.targets) > 1
    return open_display(options.progress, sys.stderr, options.environment, several_targets=several)


async def _plan(
    engine: Embedded, bake_file: BakeFile, options: BakeOptions, emit: Emit, channel: Channel | None
) -> Plan:
    """The plan of the process at the other end of `channel`, made with the help of this one; or one made here."""

    def warn(warning: str) -> None:
        if options.talks:
            terminal.warn(warning)

    if channel is not None:
        lookups.prepare()  # most plans ask for images, and it is not that far yet
    while channel is not None:
        await anyio.wait_readable(channel.reading)
        message = channel.receive()
        if isinstance(message, Wanted):
            wanted = {request: [bake_file.targets[name] for name in names] for request, names in message.images.items()}
            channel.send(await resolver(engine, emit)(wanted, message.layouts))
            # needed later, most of it, and the plan takes a moment
            import bakepy.exporter.exporter
            import bakepy.worker.context
            import bakepy.worker.exec  # noqa: F401
        elif isinstance(message, Planned):
            for warning in message.warnings:
                warn(warning)
            if isinstance(message.outcome, BakeError):
                raise message.outcome
            return message.outcome
        else:
            break
    from bakepy.cli.planning import plan_with

    return await plan_with(engine, bake_file, options, emit, warn)


class _Run:
    """One plan on its way."""

    def __init__(
        self,
        engine: Embedded,
        plan: Plan,
        options: BakeOptions,
        interruption: Interruption,
        record: RunRecord,
        emit: Emit,
        journal: Journaling,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._options = options
        self._interruption = interruption
        self._record = record
        self._emit = emit
        self._journal = journal
        self._colour = terminal.coloured(sys.stderr, options.environment)
        self._outcomes: tuple[Outcome, ...] = ()
        self._published: tuple[str, ...] = ()
        self._failure: BakeError | None = None

    async def build(self) -> None:
        """Builds, exports and publishes. What went wrong with a target is in the outcomes."""
        options = self._options
        targets = [target.target for target in self._plan.targets]
        secrets = {
            target.name: SecretProvider(target.secrets, options.environment, options.directory)
            for target in targets
            if target.secrets
        }
        agents = {
            target.name: AgentProvider(target.ssh, options.environment, options.directory)
            for target in targets
            if target.ssh
        }
        exporter = self._exporter()
        self._interruption.cancels = False
        with ExitStack() as lent:
            for provider in agents.values():
                lent.enter_context(provider)
            self._outcomes = await self._engine.solve(
                self._plan,
                export=self._journal.around(exporter.export),
                emit=self._emit,
                options=SolveOptions(
                    keep_going=options.keep_going,
                    jobs=options.jobs,
                    pools=options.pools,
                    memory=options.memory,
                    secrets=secrets,
                    ssh=agents,
                    entitlements=options.grants,
                    since=_since(options),
                ),
                stop=self._interruption.stop,
            )
        done = [outcome.target for outcome in self._outcomes if outcome.outcome == SUCCEEDED]
        if len(done) == len(targets) or (options.keep_going and self._interruption.signal is None):
            try:
                await self._publish(exporter, done)
            except BakeError as error:
                self._failure = error
        self._interruption.cancels = True

    async def _publish(self, exporter: Exporter, targets: Sequence[str]) -> None:
        """Moves the tags; an interrupt ends that, and what was built is told all the same."""

        async def cancel() -> None:
            await self._interruption.stop.wait()
            group.cancel_scope.cancel()

        with single_error():
            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                self._published = await exporter.publish(targets)
                group.cancel_scope.cancel()
        self._journal.published(self._published)

    def conclude(self) -> int:
        """Writes the metadata files and tells how it went; returns the exit status."""
        options, outcomes = self._options, self._outcomes
        reports = self._reports(outcomes)
        if not options.single:
            metadata.write_files(
                self._plan, outcomes, reports, options.metadata_file, options.directory, options.environment
            )
        elif options.metadata_file is not None and outcomes[-1].outcome == SUCCEEDED:
            path = options.directory / options.metadata_file
            metadata.write_single(self._plan, outcomes[-1], path, options.environment)
        self._tell(reports)
        if self._failure is not None:
            return self._failure.exit_code
        status = self._status()
        if status == 0:
            self._tell_id()
        return status

    def _exporter(self) -> Exporter:
        from bakepy.exporter.exporter import Exporter

        engine = self._engine
        return Exporter(
            content=engine.content,
            snapshots=engine.snapshots,
            database=engine.database,
            registry=engine.registry,
            emit=self._emit,
            environ=self._options.environment,
        )

    def _reports(self, outcomes: Iterable[Outcome]) -> list[report.TargetReport]:
        needed = self._plan.needed()
        reports = []
        for outcome in outcomes:
            record, exported = self._record.target(outcome.target), outcome.exported
            took = None
            if record.started is not None and record.ended is not None:
                took = record.ended - record.started
            reports.append(
                report.TargetReport(
                    outcome.target,
                    outcome.outcome,
                    digest=exported.descriptor.digest if exported and exported.descriptor else None,
                    size=exported.size if exported else 0,
                    took=took,
                    counts=self._record.counts(outcome.target, needed[outcome.target]),
                    written=exported.written if exported else (),
                    blocked_by=outcome.blocked_by,
                )
            )
        return reports

    def _tell(self, reports: list[report.TargetReport]) -> None:
        out, colour = sys.stderr, self._colour
        if self._options.talks:
            linked = {target.name for target in self._plan.targets if target.target.linked}
            shown = [entry for entry in reports if entry.name not in linked or entry.outcome != SUCCEEDED]
            print(report.table(shown, colour=colour), file=out)
            for name in self._published:
                print(f"tagged {name}", file=out)
            warnings = {(text, ""): None for text in self._options.notes} | _check_warnings(self._plan)
            if warnings:
                print("\n" + report.warnings(warnings, colour=colour), file=out)
        found = self._failures(self._outcomes)
        if self._failure is not None:
            found.append(report.FailureReport((), self._failure))
        if found:
            print(("\n" if self._options.talks else "") + report.failures(found, colour=colour), file=out)

    def _failures(self, outcomes: Iterable[Outcome]) -> list[report.FailureReport]:
        """Each failure once, with all targets that it kept from being done."""
        causes: dict[Digest | str, list[Outcome]] = {}
        for outcome in outcomes:
            if outcome.error is not None:
                causes.setdefault(outcome.vertex or outcome.error.render(), []).append(outcome)
        reports = []
        for cause, together in causes.items():
            error = together[0].error
            assert error is not None
            names = [outcome.target for outcome in together if outcome.outcome == FAILED]
            names = names or [outcome.target for outcome in together]
            step = self._record.steps.get(cause) if isinstance(cause, Digest) else None
            lines = step.tail.lines(report.LAST_LINES) if step is not None and step.tail is not None else ()
            reports.append(report.FailureReport(tuple(names), error, step.name if step else "", lines))
        return reports

    def _status(self) -> int:
        linked = {target.name for target in self._plan.targets if target.target.linked}
        asked = [outcome for outcome in self._outcomes if outcome.target not in linked]
        if all(outcome.outcome == SUCCEEDED for outcome in asked):
            return 0
        if self._options.keep_going and any(outcome.outcome == SUCCEEDED for outcome in asked):
            return 3
        return max((outcome.error.exit_code for outcome in asked if outcome.error is not None), default=1)

    def _tell_id(self) -> None:
        """The image ID of the one target: the digest of its config, of an index the index's own (as buildx)."""
        options = self._options
        if not options.print_id and options.image_id_file is None:
            return
        exported = self._outcomes[-1].exported
        facts = exported.metadata if exported else {}
        found = str(facts.get("containerimage.config.digest") or facts.get("containerimage.digest") or "")
        if options.image_id_file is not None:
            (options.directory / options.image_id_file).write_text(found, encoding="utf-8")
        if options.print_id and found:
            print(found)


def _since(options: BakeOptions) -> float:
    """From when on results are of the run that this one goes on with; never, if it goes on with none."""
    earlier = options.request.earlier if options.request is not None else None
    return earlier.began if earlier is not None else inf


def _each(*listeners: Callable[[Event], None]) -> Emit:
    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


def _check_warnings(plan: Plan) -> dict[tuple[str, str], None]:
    """What the Dockerfile checks and the planner found: one line each, the place in front."""
    found: dict[tuple[str, str], None] = {}
    for warning in plan.warnings:
        place = f"{warning.where.file.name}:{warning.where.start.line}: " if warning.where else ""
        rule = f"{warning.rule}: " if warning.rule else ""
        found[f"{place}{rule}{warning.message}", ""] = None
    return found
