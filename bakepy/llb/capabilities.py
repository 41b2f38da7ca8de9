"""Capabilities: what an engine can solve, by the names that BuildKit's API has for them (`solver/pb/caps.go`).

Ops list the capabilities that they need; the Dockerfile compiler leaves out what its engine lacks.
"""

from __future__ import annotations

from collections.abc import Iterable

KNOWN = frozenset({
    "cache.azblob", "cache.gha", "cache.s3", "constraints", "diffop", "exec.cgroup", "exec.meta.base",
    "exec.meta.cdi", "exec.meta.cgroup.parent", "exec.meta.linux.resources", "exec.meta.network",
    "exec.meta.network.proxy", "exec.meta.proxyenv", "exec.meta.removemountstubs.recursive", "exec.meta.security",
    "exec.meta.security.devices.v1", "exec.meta.setsdefaultpath", "exec.meta.ulimit", "exec.mount.bind",
    "exec.mount.bind.readwrite-nooutput", "exec.mount.cache", "exec.mount.cache.content",
    "exec.mount.cache.sharing", "exec.mount.secret", "exec.mount.selector", "exec.mount.ssh", "exec.mount.tmpfs",
    "exec.mount.tmpfs.size", "exec.secretenv", "exec.validexitcode", "exporter.image.annotations",
    "exporter.image.attestations", "exporter.multiple", "exporter.session", "exporter.sourcedateepoch",
    "file.base", "file.copy.alwaysreplaceexistingdestpaths", "file.copy.includeexcludepatterns",
    "file.copy.modestring", "file.copy.requiredpaths", "file.rm.nofollowsymlink", "file.rm.wildcard",
    "file.symlink.create", "gc.freespacefilter", "history.filter", "mergeop", "meta.description",
    "meta.exportcache", "meta.ignorecache", "passthroughop", "platform", "soruce.http.uidgid",
    "source.buildop.llbfilename", "source.git", "source.git.bundle", "source.git.checkoutbundle",
    "source.git.checksum", "source.git.fetchbycommit", "source.git.fullurl", "source.git.httpauth",
    "source.git.keepgitdir", "source.git.knownsshhosts", "source.git.mountsshsock", "source.git.mtime",
    "source.git.signatureverify", "source.git.skipsubmodules", "source.git.subdir", "source.http",
    "source.http.auth", "source.http.checksum", "source.http.header", "source.http.perm",
    "source.http.signatureverify", "source.image", "source.image.checksum", "source.image.layerlimit",
    "source.image.resolvemode", "source.imageblob", "source.local", "source.local.differ",
    "source.local.excludepatterns", "source.local.followpaths", "source.local.includepatterns",
    "source.local.metadatatransfer", "source.local.sessionid", "source.local.sharedkeyhint", "source.local.unique",
    "source.ocilayout", "source.policy", "source.policy.session",
})  # fmt: skip
"""All of BuildKit 73ed6825; one of them is misspelled there."""


def listed(text: str) -> frozenset[str]:
    """The names in a list: one a line; `#` begins a comment."""
    names = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(name for name in names if name)


def lacking(has: Iterable[str] | None, lacks: Iterable[str] = ()) -> frozenset[str]:
    """What an engine that has exactly `has` (None: everything) but for `lacks` does not know."""
    return (KNOWN if has is not None else frozenset()) - frozenset(has or ()) | frozenset(lacks)
