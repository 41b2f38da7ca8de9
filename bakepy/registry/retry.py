"""When and how long to wait before a registry is asked again. Pure; the waiting is done by `transport`."""

from __future__ import annotations

from bakepy.model.value import dataclass

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class Temporary(Exception):
    """Something that may go well the next time. The message is what goes into the last error."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the registry asked for."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter; times in seconds."""

    attempts: int = 6
    """Failures in a row after which to give up; a transfer that got further starts counting anew."""
    first: float = 0.4
    longest: float = 20.0
    longest_asked: float = 120.0
    """What a registry asks for by Retry-After is granted up to this."""

    def delay(self, failures: int, asked: float | None, chance: float) -> float:
        """The pause after the `failures`-th failure in a row (from 1). `chance` is random, between 0 and 1.

        Between half and all of the exponential step, so that many clients do not come back at once; never earlier
        than `asked`.
        """
        step: float = min(self.first * 2.0 ** (failures - 1), self.longest)
        pause = step * (0.5 + chance / 2)
        return pause if asked is None else max(min(asked, self.longest_asked), pause)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a peer may keep us waiting without a byte moving, in seconds. There is no limit to a whole transfer."""

    connect: float = 20.0
    """For a connection."""
    silent: float = 60.0
    """Until the next byte comes, or is taken: of an answer, of a download, of an upload."""
    storing: float = 600.0
    """Until the answer to an upload that is complete: a registry may copy and hash a whole blob before it answers."""


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110: a number, or a date); None without a usable one."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    import email.utils  # late: hardly ever needed

    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, when - now)
