"""Makes `bakepy/llb/pb/ops_pb2.py` from `bakepy/llb/proto/ops.proto`; `make proto` runs it.

Needs grpcio-tools (in the `dev` extra). The same proto file and the same compiler give the same text.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bakepy.llb

_HERE = Path(bakepy.llb.__file__).parent
PROTO = _HERE / "proto" / "ops.proto"
GENERATED = _HERE / "pb" / "ops_pb2.py"


def generate() -> str:
    """The text of the generated module. Raises RuntimeError if the proto file is wrong."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        status = protoc.main(["protoc", f"--proto_path={PROTO.parent}", f"--python_out={folder}", PROTO.name])
        if status != 0:
            raise RuntimeError(f"protoc ended with status {status}")
        return (Path(folder) / GENERATED.name).read_text()


def main() -> int:
    GENERATED.write_text(generate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
