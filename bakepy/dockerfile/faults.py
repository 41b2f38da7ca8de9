"""What else is wrong in a file that can not be compiled, as some of its text can not be read.

Much is judged when stages are compiled, with the variables that they have then. Where no variable has a say that can be
told at once, so that nobody mends a file fault by fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.expansion import Lexer
from bakepy.dockerfile.instructions import Dockerfile, Expose, Instruction, Run, StopSignal
from bakepy.dockerfile.mounts import parse_mount
from bakepy.dockerfile.ports import parse_ports
from bakepy.dockerfile.signals import check_signal


def further_faults(dockerfile: Dockerfile) -> Iterator[DockerfileError]:
    """Those of the instructions that were read, in file order, each with its place."""
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            for text in _texts(instruction):
                if not Lexer.is_plain(text):
                    continue
                try:
                    _judge(instruction, text)
                except DockerfileError as error:
                    error.where = error.where or instruction.statement.find(error.part or text)
                    yield error


def _texts(instruction: Instruction) -> tuple[str, ...]:
    match instruction:
        case Run():
            return instruction.mounts
        case Expose():
            return tuple(port for port in instruction.ports if "-" not in port)  # ranges can be large
        case StopSignal():
            return (instruction.signal,)
    return ()


def _judge(instruction: Instruction, text: str) -> None:
    match instruction:
        case Run():
            parse_mount(text, lambda value: value)
        case Expose():
            parse_ports([text], (), Checker())
        case StopSignal():
            check_signal(text)
