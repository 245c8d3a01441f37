"""Log lines: an event and its fields, in the order level, logger, message.

Built on the standard `logging`, below the one logger ``autonomy``, whose levels and handlers belong to the application:
nothing is configured on import. `Node.start` calls `start_logging` for programs that have no opinion. The formatter
escapes what could forge a line or drive a terminal, for messages often carry other people's text.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

_ROOT = "autonomy"
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
_COLOURS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}


class Logger:
    """Writes events of one part of the program: ``get_logger("orders").info("order accepted", number=7)``.

    The event comes first, positional arguments fill its ``%s`` as in the standard `logging`, keyword arguments become
    fields behind it. `exception` adds the traceback of an error, each of its lines marked so that none can pass for a
    log line. No call of these raises for what it is told to write.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{name}")

    def debug(self, event: object, *args: object, **fields: object) -> None:
        """Log at level DEBUG."""
        self._log(logging.DEBUG, event, args, fields)

    def info(self, event: object, *args: object, **fields: object) -> None:
        """Log at level INFO."""
        self._log(logging.INFO, event, args, fields)

    def warning(self, event: object, *args: object, **fields: object) -> None:
        """Log at level WARNING."""
        self._log(logging.WARNING, event, args, fields)

    def error(self, event: object, *args: object, **fields: object) -> None:
        """Log at level ERROR."""
        self._log(logging.ERROR, event, args, fields)

    def exception(
        self, event: object, error: BaseException, trace: TracebackType | None = None, **fields: object
    ) -> None:
        """Log at level ERROR, with the traceback of `error`, or with `trace` in its place."""
        self._log(logging.ERROR, event, (), fields, (type(error), error, trace or error.__traceback__))

    def stack(self, event: object, stack: str, **fields: object) -> None:
        """Log at level WARNING, with a stack as text."""
        if self._logger.isEnabledFor(logging.WARNING):
            text = _text_of(event) + _fields(fields)
            name = self._logger.name
            record = self._logger.makeRecord(name, logging.WARNING, __file__, 0, "%s", (text,), None, sinfo=stack)
            self._logger.handle(record)

    def _log(
        self,
        level: int,
        event: object,
        args: tuple[object, ...],
        fields: Mapping[str, object],
        error: _ExcInfo | None = None,
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if not fields:
            self._logger.log(level, event, *args, exc_info=error)
            return
        self._logger.log(level, "%s", _filled(event, args) + _fields(fields), exc_info=error)


def _filled(event: object, args: tuple[object, ...]) -> str:
    """Return the event with its arguments in place, or behind it if they do not fit: no line is worth an exception."""
    if not args:
        return _text_of(event)
    try:
        return str(event) % args
    except Exception:  # noqa: BLE001  # the program's own texts and values
        return " ".join(map(_text_of, (event, *args)))


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # the program's own __str__
        return f"<{type(value).__name__}, whose text cannot be had>"


def _fields(fields: Mapping[str, object]) -> str:
    return "".join(f" {key}={_field(value)}" for key, value in fields.items())


def _field(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else _text_of(value)
    if text and not any(character in text for character in ' "\\='):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def get_logger(name: str = "node") -> Logger:
    """Return the logger that writes `name` into its lines; in the standard `logging` it is ``autonomy.NAME``."""
    return Logger(name)


_node = get_logger("node")


def debug(event: object, *args: object, **fields: object) -> None:
    """Log an event of the program at level DEBUG, as logger ``node``."""
    _node.debug(event, *args, **fields)


def info(event: object, *args: object, **fields: object) -> None:
    """Log an event of the program at level INFO, as logger ``node``."""
    _node.info(event, *args, **fields)


def warning(event: object, *args: object, **fields: object) -> None:
    """Log an event of the program at level WARNING, as logger ``node``."""
    _node.warning(event, *args, **fields)


def error(event: object, *args: object, **fields: object) -> None:
    """Log an event of the program at level ERROR, as logger ``node``."""
    _node.error(event, *args, **fields)


def set_log_level(level: str) -> None:
    """Show events from `level` on: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``, in any case of letters."""
    logging.getLogger(_ROOT).setLevel(_level(level))


def set_log_levels(levels: str | Mapping[str, str]) -> None:
    """Set levels by logger: ``{"node": "DEBUG"}``, or as text ``"INFO"`` or ``"node=DEBUG,orders=WARNING"``.

    Raises:
        ValueError: An unknown level. Nothing was changed.
    """
    _set_levels(_parse_levels(levels))


def _set_levels(numbers: Mapping[str, int]) -> None:
    for name, number in numbers.items():
        logging.getLogger(name).setLevel(number)


def _parse_levels(levels: str | Mapping[str, str]) -> dict[str, int]:
    """Return levels by name of the standard logger."""
    if isinstance(levels, str):
        pairs = [part.strip().rpartition("=") for part in levels.split(",") if part.strip()]
        levels = {name.strip(): level.strip() for name, _, level in pairs}
    if not isinstance(levels, Mapping):
        raise TypeError(f"log levels must be a str or a mapping of logger to level, got {levels!r:.80}")
    return {f"{_ROOT}.{name}" if name else _ROOT: _level(level) for name, level in levels.items()}


def _level(level: str) -> int:
    try:
        return _LEVELS[level.upper()]
    except (KeyError, AttributeError):
        raise ValueError(f"log level must be one of {', '.join(_LEVELS)}, got {level!r:.80}") from None


def start_logging(levels: str = "INFO", stream: TextIO | None = None) -> Callable[[], None]:
    """Write the lines of this library to `stream` (stderr), coloured on a terminal; return what undoes that."""
    numbers = {_ROOT: logging.INFO} | _parse_levels(levels)
    root = logging.getLogger(_ROOT)
    before = {name: logging.getLogger(name).level for name in numbers}
    propagated = root.propagate
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(coloured=stream.isatty()))
    root.addHandler(handler)
    root.propagate = False
    _set_levels(numbers)

    def undo() -> None:
        root.removeHandler(handler)
        root.propagate = propagated
        _set_levels(before)

    return undo


class Formatter(logging.Formatter):
    """``2026-11-23T10:00:00.123 INFO node Starting runner node...``: one line an event, whatever its text holds."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, followed by marked lines for a traceback."""
        time = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        level = record.levelname
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        name = escape(record.name.removeprefix(f"{_ROOT}."))
        lines = [f"{time}.{int(record.msecs):03d} {level} {name} {escape(record.getMessage())}"]
        if record.exc_info:
            lines += [f"    | {escape(line)}" for line in self.formatException(record.exc_info).split("\n")]
        if record.stack_info:
            lines += [f"    | {escape(line)}" for line in record.stack_info.rstrip().split("\n")]
        return "\n".join(lines)


def escape(text: str) -> str:
    """Return `text` with all that is not printable escaped: new lines, terminal codes, bidi marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
