"""A run as a picture: what belongs together is paired, nothing in a run becomes markup, and a browser shows it all."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomy.testing import Moment, Report, Simulation, SimulationFailed, write_report
from autonomy.testing.report import NEVER, bands, hosts, messages

from .browser import CHROMIUM, Page, open_page
from .simulated import small_zone, troubled

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</style></title><svg onload=window.hacked=1>",
    "\"'`${window.hacked = 1}\\",
    "@DATA@ @SCRIPT@ @STYLE@ &lt; &amp;",
    "\u2028\u2029\0\ud800\u202e",
    "constructor",
    "__proto__",
]


class Elements(HTMLParser):
    """What a parser takes a page for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.data = ""
        self._is_data = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [name for name, _ in attrs if name in ("src", "href", "action")]
        self._is_data = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        self.data += data if self._is_data else ""


def report_of(*moments: Moment, ended_at: float = 10.0) -> Report:
    return Report(7, ended_at, moments, "0123456789abcdef", {})


def data_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Elements(path.read_text("utf-8")).data)
    return found


def hostile_report() -> Report:
    moments = [Moment(1.0, kind, text, text[::-1], 1, text) for text in HOSTILE for kind in ("send", "fault", text)]
    return report_of(*moments)


def long_report(count: int) -> Report:
    """Return a run of `count` moments among five hosts, one message in fifty lost."""
    moments: list[Moment] = []
    for number in range(count // 2):
        at, sender, receiver = number / 100, f"host-{number % 5}", f"host-{(number * 7 + 1) % 5}"
        moments.append(Moment(at, "send", sender, receiver, number, f"{number} bytes"))
        arrived = Moment(at + 0.01, "receive", receiver, sender, number)
        moments.append(arrived if number % 50 else Moment(at, "note", sender, text="lost"))
    return report_of(*moments, ended_at=count / 200)


# --- what belongs together


def test_a_send_is_paired_with_what_received_it_by_its_number() -> None:
    moments = [
        Moment(0.0, "send", "a", "b", 1),
        Moment(0.1, "send", "a", "b", 2),
        Moment(0.2, "receive", "b", "a", 2),
        Moment(0.3, "link", "b", "a", 1),
    ]

    assert messages(moments) == [(0, NEVER), (1, 2)]


def test_a_fault_lasts_until_its_own_heal() -> None:
    moments = [
        Moment(1.0, "fault", "a", "b", 1, "partition"),
        Moment(2.0, "fault", "a", "b", 2, "slow: 0.2 to 1 s"),
        Moment(3.0, "heal", "a", "b", 2, "slow"),
        Moment(4.0, "fault", "a", "", 3, "power loss"),
        Moment(5.0, "fault", "a", "b", 4, "partition"),
        Moment(6.0, "heal", "a", "b", 1, "partition"),
        Moment(7.0, "send", "a", "b", 4),
    ]

    assert bands(moments) == [(0, 5), (1, 2), (3, NEVER), (4, NEVER)]


def test_a_fault_that_is_over_at_once_is_no_band() -> None:
    moments = [
        Moment(1.0, "fault", "a", "b", text="reset of 2 links"),
        Moment(2.0, "fault", "a", "b", text="black hole"),
    ]

    assert bands(moments) == [(0, 0), (1, 1)]


def test_hosts_are_in_the_order_in_which_people_count() -> None:
    moments = [Moment(0.0, "send", "client-10", "client-9"), Moment(0.0, "start", "bank"), Moment(0.0, "note", "")]

    assert hosts(moments) == ["bank", "client-9", "client-10"]


# --- the file


def test_the_file_has_every_moment_of_the_run_and_what_repeats_it(troubled_run: Report, tmp_path: Path) -> None:
    report = troubled_run

    report.save(tmp_path / "run.html")

    data = data_in(tmp_path / "run.html")
    assert [Moment(*values) for values in data["moments"]] == list(report.moments)
    assert len(data["messages"]) == sum(moment.kind == "send" for moment in report.moments)
    assert len(data["bands"]) == sum(moment.kind == "fault" for moment in report.moments)
    assert (data["seed"], data["again"], data["ended"]) == (3, "AUTONOMY_SIM_SEED=3", report.ended_at)


def test_the_file_asks_for_nothing_else(tmp_path: Path) -> None:
    write_report(tmp_path / "run.html", long_report(20))

    page = (tmp_path / "run.html").read_text("utf-8")
    assert Elements(page).addresses == []
    assert not re.search(r"https?:|url\(|@import|\bimport\b|fetch|@[A-Z]+@", page)
    assert "default-src 'none'; script-src 'sha256-" in page


def test_nothing_that_a_moment_says_becomes_markup(tmp_path: Path) -> None:
    report = hostile_report()
    write_report(tmp_path / "harmless.html", report_of())

    write_report(tmp_path / "run.html", report, failure=HOSTILE[0])

    page, harmless = ((tmp_path / name).read_text("utf-8") for name in ("run.html", "harmless.html"))
    assert Elements(page).names == Elements(harmless).names
    assert [Moment(*values) for values in data_in(tmp_path / "run.html")["moments"]] == list(report.moments)


# --- in a browser


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_page(tmp_path / "profile") as page:
        yield page
        assert page.complaints == []


@pytest.fixture(scope="module")
def troubled_run() -> Report:
    return troubled(3)


@pytest.fixture(scope="module")
def failed_run() -> SimulationFailed:
    async def scenario(sim: Simulation) -> None:
        with sim.crash("client-0"):
            await trio.sleep(3)
            raise ValueError("the counter went backwards")

    with pytest.raises(SimulationFailed) as failed:
        small_zone(3).run(scenario)
    return failed.value


async def drawn(page: Page) -> dict[str, float]:
    """Return what the picture has now."""
    await page.settle()
    values: dict[str, str] = await page.value("({...canvas.dataset})")
    return {name: float(value) for name, value in values.items()}


async def text_of(page: Page, element: str) -> str:
    return str(await page.value(f"document.getElementById({element!r}).innerText"))


async def click(page: Page, text: str) -> None:
    """Click the button that says this."""
    await page.value(f"[...document.querySelectorAll('button')].find(one => one.innerText === {text!r}).click()")


@needs_chromium
@pytest.mark.slow
async def test_a_browser_shows_hosts_as_lanes_messages_as_arrows_and_faults_as_bands(
    page: Page, troubled_run: Report, tmp_path: Path
) -> None:
    report = troubled_run
    sent, received = ([one.number for one in report.moments if one.kind == kind] for kind in ("send", "receive"))
    report.save(tmp_path / "run.html")

    await page.show(tmp_path / "run.html")

    picture = await drawn(page)
    assert (picture["lanes"], picture["arrows"], picture["bands"]) == (4, len(sent), 12)
    assert picture["lost"] == len(set(sent) - set(received)) > 0
    assert "AUTONOMY_SIM_SEED=3" in await text_of(page, "facts")
    assert f"{len(report.moments):,}" in await text_of(page, "facts")
    assert (await text_of(page, "faults")).count("crash") == 2
    assert await page.value("failure.hidden")


@needs_chromium
@pytest.mark.slow
async def test_wheel_keys_buttons_and_the_list_of_faults_move_the_view(
    page: Page, troubled_run: Report, tmp_path: Path
) -> None:
    write_report(tmp_path / "run.html", troubled_run)
    await page.show(tmp_path / "run.html")
    whole = await drawn(page)

    await page.mouse("mouseWheel", 600, 300, deltaX=0, deltaY=-300)
    wheeled = await drawn(page)
    await page.press("+", text="+")
    pressed = await drawn(page)
    await click(page, "whole run")
    again = await drawn(page)
    await page.value("document.querySelector('#faults button').click()")
    jumped = await drawn(page)

    widths = [view["to"] - view["from"] for view in (whole, wheeled, pressed)]
    assert widths[0] > widths[1] > widths[2]
    assert whole["arrows"] > wheeled["arrows"]
    assert again == pytest.approx(whole)
    first = troubled_run.faults[0]
    assert whole["from"] < jumped["from"] < first.at < jumped["to"] < whole["to"]
    assert await page.value("document.querySelector('#rows [aria-current]').innerText.includes('crash')")


@needs_chromium
@pytest.mark.slow
async def test_filters_by_host_kind_and_text_leave_out_the_rest(
    page: Page, troubled_run: Report, tmp_path: Path
) -> None:
    write_report(tmp_path / "run.html", troubled_run)
    await page.show(tmp_path / "run.html")
    whole = await drawn(page)

    await click(page, "client-2")
    fewer_hosts = await drawn(page)
    await click(page, "client-2")
    await click(page, "faults")
    no_faults = await drawn(page)
    await click(page, "faults")
    await page.value("text.value = 'power loss', text.dispatchEvent(new Event('input'))")
    by_text = await drawn(page)

    assert fewer_hosts["lanes"] == 3
    assert 0 < fewer_hosts["arrows"] < whole["arrows"]
    assert (no_faults["bands"], no_faults["arrows"]) == (0, whole["arrows"])
    assert (by_text["bands"], by_text["arrows"]) == (1, 0)
    assert "power loss" in await text_of(page, "rows")


@needs_chromium
@pytest.mark.slow
async def test_a_failure_is_told_and_marked_and_hovering_tells_of_what_is_there(
    page: Page, failed_run: SimulationFailed, tmp_path: Path
) -> None:
    failed_run.report.save(tmp_path / "run.html", failure=str(failed_run.__cause__))

    await page.show(tmp_path / "run.html", dark=True)
    lane, now = await page.value("rows.get('client-0') + canvas.getBoundingClientRect().top"), "x(faults[0].to) - 40"
    await page.mouse("mouseMoved", await page.value(f"{now} + canvas.getBoundingClientRect().left"), lane + 9)

    assert await text_of(page, "failure") == "the counter went backwards"
    assert await page.value("!document.getElementById('end').hidden")
    assert "crash" in await text_of(page, "tip")
    await page.press("f", text="f")
    assert (await drawn(page))["to"] >= failed_run.report.ended_at


@needs_chromium
@pytest.mark.slow
async def test_hostile_texts_are_shown_and_do_nothing(page: Page, tmp_path: Path) -> None:
    write_report(tmp_path / "run.html", hostile_report(), failure="".join(HOSTILE[:5]))

    await page.show(tmp_path / "run.html")

    assert await page.value("window.hacked") is None
    assert await page.value("document.querySelectorAll('img, svg, script').length") == 2
    assert HOSTILE[0] in await text_of(page, "hosts")
    assert HOSTILE[2] in await text_of(page, "rows")
    assert (await drawn(page))["bands"] == len(HOSTILE)


@needs_chromium
@pytest.mark.slow
async def test_the_policy_lets_no_other_script_run(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    write_report(path, long_report(20))
    file = trio.Path(path)
    await file.write_text((await file.read_text("utf-8")).replace("<body>", "<body><script>window.hacked = 1</script>"))

    async with open_page(tmp_path / "profile") as page:
        await page.show(path)

        assert await page.value("window.hacked") is None
        assert any("Content Security Policy" in complaint for complaint in page.complaints)


@needs_chromium
@pytest.mark.slow
async def test_a_run_of_20_000_moments_is_still_drawn_at_once(page: Page, tmp_path: Path) -> None:
    write_report(tmp_path / "run.html", long_report(20_000))

    await page.show(tmp_path / "run.html")

    assert (await drawn(page))["arrows"] == 10_000
    best = await page.value(
        "Math.min(...[1, 2, 3].map(() => { const t = performance.now(); draw(); return performance.now() - t; }))"
    )
    assert best < 500, f"a picture takes {best:.0f} ms"
    assert await page.value("document.querySelectorAll('#rows tr').length") == 300
