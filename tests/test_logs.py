"""Log lines: one for each event, whatever its text holds, and nothing configured unless somebody asks."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy import debug, error, get_logger, info, set_log_level, set_log_levels, warning
from autonomy.logs import start_logging

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) [A-Za-z0-9_.-]+ .*")
MARK = "    | "
any_text = st.text(st.characters())  # lone surrogates, new lines, terminal codes and bidi marks among them
HOSTILE = "\r\n2026-01-01T00:00:00.000 INFO node all is well\x1b[2J\u202e\x00\x85\u2028%s %(name)s"


def levels_now() -> dict[str, object]:
    """Return the state of the standard logging, the part of it that this library could touch."""
    names = ["", "autonomy", *(name for name in logging.root.manager.loggerDict if name.startswith("autonomy."))]
    loggers = [logging.getLogger(name) for name in names]
    return {
        one.name: (one.level, one.propagate, one.disabled, list(one.handlers), list(one.filters)) for one in loggers
    }


@pytest.fixture(autouse=True)
def _logging_is_as_before() -> Iterator[None]:
    """Put back levels, for they are the interpreter's, and a test must not depend on another."""
    ours = logging.getLogger("autonomy")
    before = ours.level, ours.propagate, list(ours.handlers)
    yield
    ours.level, ours.propagate, ours.handlers[:] = before
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("autonomy."):
            logging.getLogger(name).setLevel(logging.NOTSET)


def written(log: Callable[[], object], levels: str = "DEBUG") -> list[str]:
    """Return the lines that `log` writes."""
    stream = io.StringIO()
    undo = start_logging(levels, stream)
    try:
        log()
    finally:
        undo()
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


# ---- the line


def test_a_line_has_time_level_logger_and_event() -> None:
    (line,) = written(lambda: info("Starting runner node..."))

    assert LINE.fullmatch(line)
    assert line.split(" ", 1)[1] == "INFO node Starting runner node..."


@pytest.mark.parametrize(("log", "level"), [(debug, "DEBUG"), (info, "INFO"), (warning, "WARNING"), (error, "ERROR")])
def test_each_function_logs_at_its_level(log: Callable[[str], None], level: str) -> None:
    (line,) = written(lambda: log("it happened"))

    assert line.split(" ", 1)[1] == f"{level} node it happened"


def test_a_logger_writes_its_name() -> None:
    logger = get_logger("orders")

    def log() -> None:
        logger.debug("a")
        logger.info("b")
        logger.warning("c")
        logger.error("d")

    lines = written(log)

    assert [line.split(" ", 1)[1] for line in lines] == [
        "DEBUG orders a", "INFO orders b", "WARNING orders c", "ERROR orders d",
    ]  # fmt: skip


def test_fields_stand_behind_the_event_in_their_order() -> None:
    (line,) = written(lambda: info("link lost", peer="b", unacknowledged=3, retry_in=0.1 + 0.2, why=None))

    assert line.endswith(" INFO node link lost peer=b unacknowledged=3 retry_in=0.3 why=None")


def test_a_field_with_spaces_or_without_text_is_quoted() -> None:
    (line,) = written(lambda: info("it ended", reason="no room left", name=""))

    assert line.endswith(' INFO node it ended reason="no room left" name=""')


@pytest.mark.parametrize("value", ['x" level="admin', 'a" b=c', 'x"'])
def test_a_field_cannot_pass_for_two(value: str) -> None:
    (line,) = written(lambda: info("logged in", user=value, role="guest"))

    field = r'(\w+)=(?:"(?:[^"\\]|\\.)*"|[^\s"]+)'
    fields = re.fullmatch(f".* logged in {field} {field}", line)
    assert fields is not None
    assert fields.groups() == ("user", "role")


def test_arguments_fill_the_event() -> None:
    assert written(lambda: info("%s of %d", "one", 2))[0].endswith(" INFO node one of 2")
    assert written(lambda: info("%s of %d", "one", 2, left=1))[0].endswith(" INFO node one of 2 left=1")


@pytest.mark.parametrize("event", ["100%", "100% sure", "%s", "%d %(name)s", "%%"])
def test_percent_signs_mean_nothing_without_arguments(event: str) -> None:
    assert written(lambda: info(event))[0].endswith(f" INFO node {event}")
    assert written(lambda: info(event, rate="5%s"))[0].endswith(f" INFO node {event} rate=5%s")


@pytest.mark.parametrize(
    ("event", "args"), [("%d of 2", ("one",)), ("%s", ("one", 2)), ("%s of %s", ("one",)), ("5%", (1,))]
)
def test_arguments_that_do_not_fit_stand_behind_the_event(event: str, args: tuple[object, ...]) -> None:
    (line,) = written(lambda: info(event, *args, left=1))

    assert line.endswith(f" INFO node {event} {' '.join(map(str, args))} left=1")


@pytest.mark.parametrize("log", [lambda value: info("%s", value, left=1), lambda value: info("event", value=value)])
def test_a_value_whose_text_cannot_be_had_is_logged_as_such(log: Callable[[object], None]) -> None:
    class Textless:
        def __str__(self) -> str:
            raise ZeroDivisionError

    (line,) = written(lambda: log(Textless()))

    assert "<Textless, whose text cannot be had>" in line


def test_an_event_may_be_any_object() -> None:
    (line,) = written(lambda: info(ValueError("as it is")))

    assert line.endswith(" INFO node as it is")


def test_text_that_can_be_printed_is_written_as_it_is() -> None:
    (line,) = written(lambda: info("Grüße → 東京 🎉", city="Łódź"))

    assert line.endswith(" INFO node Grüße → 東京 🎉 city=Łódź")


# ---- colours


def test_no_colours_where_there_is_no_terminal() -> None:
    assert "\x1b" not in "".join(written(lambda: error("it broke")))


def test_the_level_is_coloured_on_a_terminal() -> None:
    main, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        undo = start_logging("INFO", stream)
        info("it happened \x1b[31m")
        undo()
        stream.flush()
        line = os.read(main, 1000).decode()
    os.close(main)

    assert re.search(r" \x1b\[32mINFO\x1b\[0m node it happened \\x1b\[31m\r?\n$", line)
    assert line.count("\x1b") == 2


# ---- no text can forge a line


def check_lines(lines: list[str], events: int) -> None:
    """Raise unless there are as many events, each a line, and all else is marked and can be printed."""
    assert sum(LINE.fullmatch(line) is not None for line in lines) == events
    assert all(LINE.fullmatch(line) or line.startswith(MARK) for line in lines)
    assert all(line.isprintable() for line in lines)


@given(any_text, any_text, st.sampled_from(["debug", "info", "warning", "error"]))
@example(HOSTILE, HOSTILE, "info")
def test_an_event_is_one_line_whatever_its_text_holds(event: str, field: str, level: str) -> None:
    logger = get_logger("node")

    lines = written(lambda: [getattr(logger, level)(event), getattr(logger, level)(event, field=field)])

    assert len(lines) == 2
    check_lines(lines, 2)


@given(any_text)
@example(HOSTILE)
def test_arguments_forge_no_line_either(text: str) -> None:
    lines = written(lambda: info("it said %s", text))

    assert len(lines) == 1
    check_lines(lines, 1)


@given(any_text)
@example(HOSTILE)
def test_a_logger_of_a_hostile_name_forges_no_line(name: str) -> None:
    lines = written(lambda: get_logger(f"x{name}").error("it happened"))

    assert len(lines) == 1
    assert all(line.isprintable() for line in lines)


@given(any_text)
@example(HOSTILE)
def test_an_exception_is_a_line_and_a_marked_traceback_whatever_its_text_holds(text: str) -> None:
    def log() -> None:
        try:
            raise ValueError(text) from KeyError(text)
        except ValueError as caught:
            caught.add_note(text)
            get_logger("worker").exception("worker failed", caught, worker="w@n")

    lines = written(log)

    assert lines[0].endswith(" ERROR worker worker failed worker=w@n")
    assert any("Traceback" in line for line in lines[1:])
    assert any("ValueError" in line for line in lines[1:])
    check_lines(lines, 1)


def test_an_exception_whose_text_cannot_be_had_is_logged_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    lines = written(lambda: get_logger("worker").exception("worker failed", BrokenError()))

    assert "BrokenError" in lines[-1]
    check_lines(lines, 1)


# ---- levels


def test_below_the_level_nothing_is_written() -> None:
    assert written(lambda: info("not to be seen"), "WARNING") == []
    assert len(written(lambda: warning("to be seen"), "WARNING")) == 1


def test_each_logger_may_have_a_level_of_its_own() -> None:
    def log() -> None:
        for name in ("node", "orders", "others"):
            get_logger(name).debug("it happened")
            get_logger(name).info("it happened")

    lines = written(log, "WARNING,node=DEBUG, orders = info")

    assert [line.split(" ")[1:3] for line in lines] == [["DEBUG", "node"], ["INFO", "node"], ["INFO", "orders"]]


@pytest.mark.parametrize("level", ["debug", "Debug", "DEBUG"])
def test_levels_may_be_written_in_any_case_and_changed_at_any_time(level: str) -> None:
    def log() -> None:
        debug("before")
        set_log_level(level)
        debug("after")

    assert [line.rpartition(" ")[2] for line in written(log, "INFO")] == ["after"]


def test_levels_may_be_set_from_a_mapping_or_a_text() -> None:
    for levels in ({"node": "ERROR", "": "DEBUG"}, "node=ERROR,DEBUG"):

        def log(levels: str | Mapping[str, str] = levels) -> None:
            set_log_levels(levels)
            warning("not to be seen")
            get_logger("orders").debug("to be seen")

        assert len(written(log)) == 1


@pytest.mark.parametrize("level", ["LOUD", "", " ", "CRITICAL", "10", 10, None, "INFO\n"])
def test_a_level_that_cannot_be_is_refused_and_the_error_names_those_that_can(level: object) -> None:
    before = levels_now()

    with pytest.raises(ValueError, match="log level must be one of DEBUG, INFO, WARNING, ERROR, got"):
        set_log_level(level)  # type: ignore[arg-type]  # that is the point

    assert levels_now() == before


@pytest.mark.parametrize("levels", ["node=LOUD", "node=DEBUG,LOUD", "node=", "DEBUG=node", {"node": 10}, {"node": "x"}])
def test_levels_are_set_all_or_none(levels: object) -> None:
    get_logger("node")
    before = levels_now()

    with pytest.raises(ValueError, match="log level must be one of"):
        set_log_levels(levels)  # type: ignore[arg-type]  # that is the point

    assert levels_now() == before


@pytest.mark.parametrize("levels", [None, 10, ["INFO"]])
def test_levels_that_are_neither_text_nor_mapping_are_refused(levels: object) -> None:
    with pytest.raises((TypeError, ValueError), match="log level"):
        set_log_levels(levels)  # type: ignore[arg-type]  # that is the point


# ---- O7: nothing is configured unless somebody asks


def test_logging_an_event_configures_nothing(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("node")
    before = levels_now()

    warning("it happened", number=1)

    assert levels_now() == before
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("autonomy.node", "WARNING", "it happened number=1")
    ]


@pytest.mark.parametrize("levels", ["INFO", "DEBUG,node=WARNING,orders=ERROR"])
def test_what_start_logging_changed_is_put_back(levels: str) -> None:
    for name in ("node", "orders"):
        get_logger(name)
    logging.getLogger("autonomy.node").setLevel(logging.ERROR)
    before = levels_now()

    undo = start_logging(levels, io.StringIO())
    undo()

    assert levels_now() == before


def test_start_logging_with_levels_that_cannot_be_changes_nothing() -> None:
    before = levels_now()

    with pytest.raises(ValueError, match="log level must be one of"):
        start_logging("LOUD", io.StringIO())

    assert levels_now() == before


def test_lines_go_to_stderr_and_to_nobody_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    undo = start_logging()
    info("it happened")
    undo()

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" INFO node it happened\n")
    assert caplog.records == []
