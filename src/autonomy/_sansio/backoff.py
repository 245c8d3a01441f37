"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass

from .border import check_delay


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double: `first` seconds, then twice that, and so on, at most `longest`.

    Args:
        first: Seconds before the first retry; 0 for none.
        longest: Upper bound of a wait, in seconds.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is negative, infinite or NaN, or `longest` is less than `first`.
    """

    first: float = 0.1
    longest: float = 5.0

    def __post_init__(self) -> None:
        check_delay(self.first, "Backoff: first")
        check_delay(self.longest, "Backoff: longest")
        if self.longest < self.first:
            raise ValueError(f"Backoff: longest ({self.longest}) must be at least first ({self.first})")

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait before retry number `attempt`, which counts from 1."""
        doublings = min(attempt - 1, 64)  # 2.0**64 times any useful `first` is beyond any useful `longest`
        return float(min(self.first * 2.0**doublings, self.longest))
