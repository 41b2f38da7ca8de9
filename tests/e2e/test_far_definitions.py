"""A definition far away is baked: what is in its contexts comes from there, or from here where it says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_definitions import packed
from tests.e2e.conftest import Bakepy
from tests.support.repositories import Repository
from tests.support.web import Page, Web

pytestmark = pytest.mark.runtime

FILES = {
    "docker-bake.hcl": """
group "default" {
  targets = ["root", "sub", "mixed"]
}
target "root" {
  output = ["type=local,dest=out/root"]
}
target "sub" {
  context = "sub"
  output = ["type=local,dest=out/sub"]
}
target "mixed" {
  context = BAKE_CMD_CONTEXT
  contexts = { there = "sub" }
  dockerfile-inline = <<-EOT
    FROM scratch
    COPY file /here
    COPY --from=there file /there
  EOT
  output = ["type=local,dest=out/mixed"]
}
""",
    "Dockerfile": "FROM scratch\nCOPY file /root\n",
    "file": "root",
    "sub/Dockerfile": "FROM scratch\nCOPY . /\n",
    "sub/file": "sub",
}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    served = tmp_path / "served"
    served.mkdir()
    Repository.create(served, "r.git").commit(FILES)
    with Web(served) as server:
        server.pages["/all.tgz"] = Page(packed(FILES))
        yield server


@pytest.mark.parametrize("address", ["/git/r.git#main", "/all.tgz"])
def test_contexts_are_where_the_definition_is(web: Web, address: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "file").write_text("here")
    Bakepy(tmp_path / "state", tmp_path).run("bake", f"{web.url}{address}", cwd=here)
    out = here / "out"
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert found == {
        "root/root": "root",
        "sub/Dockerfile": FILES["sub/Dockerfile"],
        "sub/file": "sub",
        "mixed/here": "here",
        "mixed/there": "sub",
    }


def test_a_far_definition_gets_only_what_is_granted(web: Web, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "key").write_text("secret")
    bakepy = Bakepy(tmp_path / "state", tmp_path)
    words = ("bake", f"{web.url}/git/r.git", "sub", "--set", "sub.secrets=id=key,src=../key")
    refused = bakepy.run(*words, cwd=here, status=2)
    assert refused.stderr == (
        "ERROR: the definition is far away and asks for more than it may have\n"
        "    reading ../key (target.sub.secret)\n"
        "hint: --allow fs.read=../key grants it; BUILDX_BAKE_ENTITLEMENTS_FS=0 grants all files\n"
    )
    bakepy.run(*words, "--allow", "fs.read=../key", cwd=here)
    assert (here / "out/sub/file").read_text() == "sub"
