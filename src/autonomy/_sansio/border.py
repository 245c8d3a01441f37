"""What callers may pass in besides names: messages, seconds, counts, places to listen.

Parse at the border, trust inside: each function returns the value in the form the rest of the library relies on, or
raises before anything has changed, saying what was wrong and what would be right.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

MAX_MESSAGE_BYTES = 16 * 2**20


def check_message(message: object, max_bytes: int) -> str:
    """Return `message` if it is a str of at most `max_bytes` in UTF-8.

    Raises:
        TypeError: It is not a str.
        ValueError: It is too large, or holds lone surrogates, which UTF-8 cannot carry.
    """
    if not isinstance(message, str):
        raise TypeError(
            f"message must be a str, got {type(message).__name__}: {message!r:.80}. "
            "Encode structured data first, for instance with json.dumps."
        )
    message = str.__str__(message)  # a plain str: one of a subclass could carry state (D6)
    if message.isascii():
        size = len(message)
    else:
        try:
            size = len(message.encode())
        except UnicodeEncodeError as error:
            raise ValueError(
                f"message has a lone surrogate {message[error.start]!r} at index {error.start}, "
                "which cannot be encoded. Decode bytes with errors='replace', or send them as base64."
            ) from None
    if size > max_bytes:
        raise ValueError(
            f"message has {size:,} bytes once encoded; this node takes at most {max_bytes:,} (max_message_bytes). "
            "Send it in parts, or send a reference to it."
        )
    return message


def check_seconds(value: object, what: str) -> float:
    """Return `value` as a float number of seconds; any number but NaN, negative ones included."""
    kind = type(value)
    if kind is float and value == value:  # not NaN; the two short ways are for every request
        return value  # type: ignore[return-value]  # type() does not narrow
    if kind is not int and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"{what} must be a number of seconds, got {kind.__name__}: {value!r:.80}")
    try:
        seconds = float(value)  # type: ignore[arg-type]  # a number by now
    except OverflowError:
        raise ValueError(f"{what} is too large for a number of seconds") from None
    if math.isnan(seconds):
        raise ValueError(f"{what} must be a number of seconds, got NaN")
    return seconds


def check_delay(value: object, what: str, *, zero: bool = True) -> float:
    """Return `value` as a finite number of seconds that is not negative, and above zero unless `zero`."""
    seconds = check_seconds(value, what)
    if seconds < 0 or math.isinf(seconds) or (seconds == 0 and not zero):
        raise ValueError(f"{what} must be {'0 or more' if zero else 'more than 0'} and finite seconds, got {value!r}")
    return seconds


def check_period(value: object) -> float:
    """Return `value` as a finite number of seconds above a microsecond, which is as often as anything can be due."""
    seconds = check_delay(value, "period", zero=False)
    if seconds < 1e-6:
        raise ValueError(f"period must be at least a millionth of a second, got {value!r} seconds")
    return seconds


def check_callable(value: Callable[..., T], what: str) -> Callable[..., T]:
    """Return `value` if it can be called."""
    if not callable(value):
        raise TypeError(f"{what} must be a function, got {type(value).__name__}: {value!r:.80}")
    return value


def check_awaitable(result: Awaitable[T], what: str, function: object) -> Awaitable[T]:
    """Return what an async function returned when it was called, if it is one."""
    if not inspect.isawaitable(result):
        raise TypeError(f"{what} must be an async function; {function!r:.80} returned {type(result).__name__}")
    return result


def check_count(value: object, what: str, least: int = 1) -> int:
    """Return `value` if it is an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int, got {type(value).__name__}: {value!r:.80}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, got {value}")
    return value


def check_place(value: object, what: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``. A host with colons is in brackets, others may be."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, HOST:PORT, got {type(value).__name__}: {value!r:.80}")
    host, _, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not host or not 0 <= number <= 65535 or set(host) & set("/@[] ") or (":" in host and not bracketed):
        raise ValueError(f"{what} must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, got {value!r:.80}")
    return host, number
