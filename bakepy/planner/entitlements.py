"""Steps that ask for more than a sandbox: they need to be granted on the command line (BuildKit: util/entitlements)."""

from __future__ import annotations

from bakepy.errors import DefinitionError, DefinitionErrors
from bakepy.llb.graph import Vertex
from bakepy.llb.op import ExecOp, NetMode, SecurityMode
from bakepy.model.location import SourceRange
from bakepy.planner.plan import Plan

NETWORK_HOST = "network.host"
SECURITY_INSECURE = "security.insecure"


def check_entitlements(plan: Plan, granted: frozenset[str]) -> None:
    """Raises DefinitionError (DefinitionErrors) for steps that ask for what is not granted."""
    errors = []
    forms = {vertex.form: vertex for vertex in plan.graph.values()}  # of one form all ask for the same
    for vertex in forms.values():
        for entitlement in asked_for(vertex):
            if entitlement not in granted:
                errors.append(
                    DefinitionError(
                        f"{entitlement} is not allowed",
                        where=_place(vertex),
                        hint=f"--allow {entitlement} grants it",
                    )
                )
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)


def asked_for(vertex: Vertex) -> tuple[str, ...]:
    """The entitlements that a step needs."""
    op = vertex.op
    if not isinstance(op, ExecOp):
        return ()
    host = (NETWORK_HOST,) if op.network is NetMode.HOST else ()
    return (*host, SECURITY_INSECURE) if op.security is SecurityMode.INSECURE else host


def _place(vertex: Vertex) -> SourceRange | None:
    ranges = next((ranges for ranges in vertex.locations if ranges), ())
    return SourceRange.of_line(ranges[0].file, ranges[0].start.line) if ranges else None
