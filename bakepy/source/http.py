"""Files from the web: `http://` and `https://` sources.

What was downloaded stays in the content store, with what its server called it (ETag, Last-Modified), so that the next
run asks whether it is still the same and transfers nothing if it is. Names of attributes and of secrets are BuildKit's
(`solver/pb/attr.go`, `source/http`). The HTTP library is imported when the first connection is made.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from bakepy._version import __version__
from bakepy.content.database import Database
from bakepy.content.store import BlobWriter, ContentStore
from bakepy.errors import BuildError, RegistryError
from bakepy.llb.op import SourceOp
from bakepy.model.digest import Digest
from bakepy.model.url import redacted
from bakepy.model.value import dataclass
from bakepy.registry.hosts import proxy_for
from bakepy.registry.retry import RETRIED_STATUSES, Patience, RetryPolicy, Temporary, parse_retry_after
from bakepy.snapshot.store import SnapshotStore
from bakepy.source.lent import NOTHING, Lent

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

Progress = Callable[[int, int], None]
"""Bytes so far, and bytes in all (0: not known)."""

_CHUNK = 1 << 18
_STRONG_SECONDS = 60
"""A Last-Modified that is this much older than the answer tells one content from the next (RFC 9110, 8.8.2.2)."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS http_file (request TEXT PRIMARY KEY, digest TEXT NOT NULL, etag TEXT NOT NULL,"
    " modified INTEGER, strong INTEGER NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A source op, read. `mode` are the permission bits of the file; `checksum` None: whatever comes is right."""

    url: str
    filename: str
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    checksum: Digest | None = None
    header_secret: str = ""

    @classmethod
    def of(cls, op: SourceOp) -> HttpRequest:
        """Raises DefinitionError for a malformed checksum, BuildError for other attributes that make no sense."""
        attrs = op.attrs
        return cls(
            op.identifier,
            _safe(attrs.get("http.filename") or _path(op.identifier)),
            _number(attrs, "http.perm") or 0o600,
            _number(attrs, "http.uid"),
            _number(attrs, "http.gid"),
            Digest.parse(attrs["http.checksum"]) if attrs.get("http.checksum") else None,
            attrs.get("http.authheadersecret", ""),
        )

    @property
    def shown(self) -> str:
        return redacted(self.url)

    @property
    def id(self) -> str:
        """Names what is downloaded in the state: a URL may hold a password, so it is not kept itself."""
        algorithm = self.checksum.algorithm if self.checksum else "sha256"
        return hashlib.sha256(json.dumps([self.url, algorithm]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class HttpFile:
    """What a URL gave: a blob, and when it was changed (seconds; None if the server does not say)."""

    digest: Digest
    modified: int | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What an earlier answer was; `strong`: its date alone tells it from others."""

    file: HttpFile
    etag: str
    strong: bool


class _Partial:
    """What came so far of a file. `etag` is what it can be gone on with (RFC 9110, 13.1.5: only a strong one; empty:
    it can not); `headers` are those that tell of the file, of the answer that began it."""

    def __init__(self, writer: BlobWriter) -> None:
        self.writer = writer
        self.etag = ""
        self.headers: Mapping[str, str] = {}

    @property
    def conditions(self) -> dict[str, str]:
        """What asks for the rest; empty if there is nothing to go on with."""
        if not self.etag or not self.writer.size:
            return {}
        # parts of what is packed for the way could not be put together
        return {"Range": f"bytes={self.writer.size}-", "If-Range": self.etag, "Accept-Encoding": "identity"}

    def begin(self, response: aiohttp.ClientResponse) -> None:
        """Goes on where the answer does, or from the start. Raises Temporary if it is another part."""
        start = response.headers.get("Content-Range", "").partition("-")[0].strip()
        if response.status == 206 and start.lower() == f"bytes {self.writer.size}" and self.etag:
            return
        self.writer.restart()
        self.etag = ""
        if response.status == 206:
            raise Temporary("the server sent a part that was not asked for")
        self.headers = response.headers.copy()
        etag = response.headers.get("ETag", "")
        if not etag.startswith("W/") and "Content-Encoding" not in response.headers:
            self.etag = etag

    def forget(self) -> None:
        """Begins anew the next time."""
        self.etag = ""


class HttpSource:
    """Downloads each URL at most once for a run. Needs a running event loop; close it by `aclose`."""

    def __init__(
        self,
        content: ContentStore,
        database: Database,
        *,
        policy: RetryPolicy | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._content = content
        self._database = database
        self._policy = policy or RetryPolicy()
        self._patience = patience or Patience()
        self._sleep = sleep
        self._chance = chance
        self._client: aiohttp.ClientSession | None = None
        self._found: dict[str, HttpFile] = {}
        self._locks: dict[str, anyio.Lock] = {}
        database.create(_TABLE)

    async def aclose(self) -> None:
        if self._client:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True):
                await client.close()

    async def key(self, request: HttpRequest, lent: Lent = NOTHING, progress: Progress | None = None) -> str:
        """Text that is equal for equal results. With a checksum nobody is asked; else this downloads what is new."""
        file = HttpFile(request.checksum) if request.checksum else await self.fetch(request, lent, progress)
        # the time of what is pinned is not known here: it must not pass for what has no time
        time = "pinned" if request.checksum else file.modified
        return json.dumps([request.filename, request.mode, request.uid, request.gid, file.digest, time])

    async def fetch(self, request: HttpRequest, lent: Lent = NOTHING, progress: Progress | None = None) -> HttpFile:
        """Gets the file into the content store, unless it is there and still the same.

        Raises BuildError if the server refuses or sends something else than the checksum says, RegistryError if
        nobody answers after all attempts.
        """
        async with self._locks.setdefault(request.id, anyio.Lock()):
            found = self._found.get(request.id)
            if found is None or not self._content.has(found.digest):
                found = self._found[request.id] = await self._revalidate(request, lent, progress)
        if request.checksum and found.digest != request.checksum:
            raise BuildError(f"digest mismatch for {request.shown}: {found.digest} (expected: {request.checksum})")
        return found

    async def file(self, request: HttpRequest, lent: Lent = NOTHING, progress: Progress | None = None) -> HttpFile:
        """`fetch` for those who read the blob: one that was damaged on disk is downloaded again."""
        found = await self.fetch(request, lent, progress)
        if not await anyio.to_thread.run_sync(self._content.verified, found.digest):
            found = await self.fetch(request, lent, progress)
        return found

    async def place(
        self,
        request: HttpRequest,
        id: str,
        snapshots: SnapshotStore,
        lent: Lent = NOTHING,
        progress: Progress | None = None,
    ) -> None:
        """Makes the snapshot `id`, whose only file is what the URL gave. Raises as `fetch`."""
        file = await self.file(request, lent, progress)
        async with snapshots.prepare(None) as active:
            await anyio.to_thread.run_sync(
                _write, self._content.path(file.digest), active.path / request.filename, request, file.modified or 0
            )
            await active.commit(id)

    async def _revalidate(self, request: HttpRequest, lent: Lent, progress: Progress | None) -> HttpFile:
        known = self._known(request)
        if known and request.checksum and known.file.digest == request.checksum:
            return known.file
        authorization = await anyio.to_thread.run_sync(_authorization, request, lent)
        with self._content.writer(request.checksum.algorithm if request.checksum else "sha256") as writer:
            return await self._persist(request, known, authorization, _Partial(writer), progress)

    async def _persist(
        self,
        request: HttpRequest,
        known: _Known | None,
        authorization: str,
        partial: _Partial,
        progress: Progress | None,
    ) -> HttpFile:
        """Tries again where that may help; a transfer that got further starts counting anew."""
        failures = furthest = 0
        while True:
            try:
                return await self._download(request, known, authorization, partial, progress)
            except Temporary as failure:
                if partial.conditions and partial.writer.size > furthest:
                    failures, furthest = 0, partial.writer.size
                failures += 1
                if failures >= self._policy.attempts:
                    raise RegistryError(
                        f"{request.shown}: {failure}",
                        hint="is the server up and reachable from here?",
                        detail=(f"gave up after {failures} attempts",),
                    ) from failure
                pause = self._policy.delay(failures, failure.retry_after, self._chance())
            await self._sleep(pause)

    async def _download(
        self,
        request: HttpRequest,
        known: _Known | None,
        authorization: str,
        partial: _Partial,
        progress: Progress | None,
    ) -> HttpFile:
        import aiohttp

        headers = (partial.conditions or _conditions(known)) | (
            {"Authorization": authorization} if authorization else {}
        )
        try:
            url = _as_written(request.url)
            async with self._session().get(url, headers=headers, proxy=proxy_for(request.url)) as response:
                status, etag = response.status, response.headers.get("ETag", "").removeprefix("W/")
                if known and (status == 304 or (status == 200 and etag and etag == known.etag)):
                    return known.file
                if status in RETRIED_STATUSES:
                    after = parse_retry_after(response.headers.get("Retry-After"), time.time())
                    raise Temporary(f"invalid response status {status}", after)
                if status == 416 and partial.conditions:
                    partial.forget()
                    raise Temporary("the rest of the file is not there")
                if not 200 <= status < 400:
                    raise BuildError(f"{request.shown}: invalid response status {status}")
                partial.begin(response)
                digest = await self._save(partial.writer, response, progress)
                etag = partial.headers.get("ETag", "").removeprefix("W/")
                modified = _seconds(partial.headers.get("Last-Modified"))
                answered = _seconds(partial.headers.get("Date"))
        except aiohttp.ClientSSLError as error:
            raise RegistryError(
                f"{request.shown}: no secure connection: {error}", hint="is the server's certificate known here?"
            ) from error
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise BuildError(f"{request.shown}: {_astray(error)}") from error
        except TimeoutError as error:
            raise Temporary("no answer in time") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Temporary(f"connection failed: {_reason(error)}") from error
        strong = modified is not None and answered is not None and answered - modified >= _STRONG_SECONDS
        file = HttpFile(digest, modified)
        self._remember(request, _Known(file, etag, strong))
        return file

    async def _save(self, writer: BlobWriter, response: aiohttp.ClientResponse, progress: Progress | None) -> Digest:
        total = writer.size + (response.content_length or 0)
        async for chunk in response.content.iter_chunked(_CHUNK):
            await anyio.to_thread.run_sync(writer.write, chunk)
            if progress:
                progress(writer.size, max(total, writer.size))
        return (await anyio.to_thread.run_sync(writer.commit))[0]

    def _known(self, request: HttpRequest) -> _Known | None:
        rows = self._database.query(
            "SELECT digest, etag, modified, strong FROM http_file WHERE request = ?", request.id
        )
        if not rows or not self._content.has(Digest.parse(rows[0][0])):
            return None
        digest, etag, modified, strong = rows[0]
        return _Known(HttpFile(Digest.parse(digest), modified), etag, bool(strong))

    def _remember(self, request: HttpRequest, known: _Known) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO http_file (request, digest, etag, modified, strong) VALUES (?, ?, ?, ?, ?)",
            request.id,
            str(known.file.digest),
            known.etag,
            known.file.modified,
            int(known.strong),
        )

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            import aiohttp  # late: most runs never connect

            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._patience.connect, sock_read=self._patience.silent
                ),
                # as Go's client, whose results these files are compared with: what is packed for the way is unpacked
                headers={"User-Agent": f"bakepy/{__version__}", "Accept-Encoding": "gzip"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._client


def _conditions(known: _Known | None) -> dict[str, str]:
    if known and known.etag:
        return {"If-None-Match": known.etag}
    if known and known.strong and known.file.modified is not None:
        return {"If-Modified-Since": email.utils.formatdate(known.file.modified, usegmt=True)}
    return {}


def _authorization(request: HttpRequest, lent: Lent) -> str:
    """From the secret that the op names; else from the one for this host (`HTTP_AUTH_HEADER_<host>`, …_TOKEN_…)."""
    if request.header_secret:
        value = lent.get(request.header_secret)
        if value is None:
            raise BuildError(f"{request.shown}: there is no secret '{request.header_secret}'")
        return value.decode()
    host = urlsplit(request.url).hostname or ""
    if (token := lent.get(f"HTTP_AUTH_TOKEN_{host}")) is not None:
        return f"Bearer {token.decode()}"
    header = lent.get(f"HTTP_AUTH_HEADER_{host}")
    return header.decode() if header is not None else ""


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)


def _safe(path: str) -> str:
    """The last element of a path; `download` where there is none, as BuildKit calls such a file."""
    name = path.rstrip("/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else "download"


def _number(attrs: Mapping[str, str], name: str) -> int:
    """As Go reads numbers: a leading zero means octal."""
    text = attrs.get(name, "0")
    try:
        return int(text, 8 if text.startswith("0") and text.isdigit() else 0)
    except ValueError as error:
        raise BuildError(f"invalid {name} '{text}' of a web address") from error


def _seconds(header: str | None) -> int | None:
    """A date of a header; None if it is none."""
    if not header:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(header).timestamp())
    except ValueError:
        return None


def _write(blob: Path, goal: Path, request: HttpRequest, modified: int) -> None:
    with blob.open("rb") as source, goal.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        while data := source.read(1 << 20):
            target.write(data)
        target.flush()
        if request.uid or request.gid:
            os.fchown(target.fileno(), request.uid, request.gid)
        os.fchmod(target.fileno(), request.mode)
    os.utime(goal, (modified, modified))


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return type(error).__name__


def _as_written(url: str) -> URL | str:
    """With the `.` and `..` of its path, and with all that it escapes, which the client would take out: servers may
    mean something by them."""
    if not ("/." in url or "%" in url) or not url.isascii() or not url.isprintable() or " " in url:
        return url
    from yarl import URL

    return URL(url, encoded=True)


def _astray(error: Exception) -> str:
    from aiohttp import TooManyRedirects

    return "stopped after 10 redirects" if isinstance(error, TooManyRedirects) else "the address leads nowhere"
