"""The log page in a browser: what it shows, and what keys and buttons do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from autonomy._web import PodView, serve_logs

from ..browser import CHROMIUM, Page, open_page
from .folder_zone import FolderZone, served, small_zone

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

TRACEBACK = """\
2026-11-24T10:00:02.000 ERROR actors handler failed worker=greeter
    | Traceback (most recent call last):
    |   File "main.py", line 7, in handle_message
    | ValueError: no such order
"""
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\x1b]0;title\x07\x1b[2J\x1b[1;1Hcleared\x1b[999999999m\x1b[38;5;999mcolour",
    "\x1b[38;2;1);background:url(x)m style",
    "\u202e\u2066right to left",
    "nul \x00 bell \x07 escape \x1b",
    '{"message": "<b>", "level": {"a": 1}, "__proto__": 1, "time": "junk"}',
    '{"message": null, "level": null, "time": 1e300}',
    "[" * 500,
    "2026-99-99T99:99:99 INFO node no such day",
]


@pytest.fixture
def zone(tmp_path: Path) -> FolderZone:
    return small_zone(tmp_path)


@pytest.fixture
async def url(zone: FolderZone) -> AsyncIterator[str]:
    async with served(zone) as url:
        yield url


@pytest.fixture
async def page(url: str, tmp_path: Path) -> AsyncIterator[Page]:
    async with open_page(tmp_path / "profile") as page:
        await page.show(url)
        await page.wait_for("isReady && zone")
        yield page
        assert page.complaints == []


async def come(page: Page, count: int) -> None:
    """Wait until this many lines have come."""
    await page.wait_for(f"lines.length >= {count} && !fresh.length")
    await page.settle()


async def texts(page: Page) -> list[str]:
    """Return the rows in sight, as a person reads them."""
    found: list[str] = await page.value(
        "rows.filter(row => !row.hidden).sort((a, b) => a.line.number - b.line.number)"
        ".map(row => [...row.children].map(part => part.textContent).filter(Boolean).join(' | '))"
    )
    return found


async def text_of(page: Page, element: str) -> str:
    return str(await page.value(f"document.getElementById({element!r}).innerText"))


async def click(page: Page, within: str, label: str) -> None:
    """Click the button with this label."""
    buttons = f"[...document.querySelectorAll('#{within} button')]"
    await page.value(f"{buttons}.find(one => (one.ariaLabel || one.innerText).startsWith({label!r})).click()")
    await page.settle()


def numbered(count: int) -> str:
    return "".join(f"2026-11-24T10:00:00.{number % 1000:03d} INFO node line {number}\n" for number in range(count))


async def test_lines_of_all_pods_appear_live_and_in_the_order_of_their_times(page: Page, zone: FolderZone) -> None:
    assert "Nothing has been written yet" in await text_of(page, "empty")

    zone.write("2026-11-24T10:00:00.100 INFO node Greeter received: hello\n")
    zone.write("printed\n", "runner-pod-0", "proxy")
    await come(page, 2)
    zone.write("2026-11-24T10:00:00.300 DEBUG orders order accepted number=7\n", "runner-pod-1")
    await come(page, 3)

    assert sorted(await texts(page)) == [
        "10:00:00.100 | main-pod | INFO | node Greeter received: hello",
        "10:00:00.300 | runner-pod-1/main | DEBUG | orders order accepted number=7",
        "runner-pod-0/proxy | text | printed",
    ]
    assert await page.value("document.title") == "orders · logs"


async def test_what_is_there_already_is_put_in_the_order_of_its_times(page: Page, zone: FolderZone, url: str) -> None:
    for number in range(30):
        pod = f"runner-pod-{number % 2}"
        zone.write(f"2026-11-24T10:00:{number:02d}.000 INFO node {number}\n  and more of {number}\n", pod)

    await page.show(url)
    await come(page, 60)

    assert await page.value("lines.map(line => parseInt(line.text.match(/\\d+$/)[0]))") == [
        number for number in range(30) for _ in range(2)
    ]


async def test_pods_are_listed_with_their_state_and_why(page: Page, zone: FolderZone) -> None:
    zone.there = [PodView("main-pod", "main-pod", ("main",), "failed", (), "exit status 1 three times in 60 s")]
    zone.there += [PodView("late-pod-0", "late-pod", ("main", "proxy"), "starting")]

    await page.wait_for("pods.length === 2")
    await page.settle()

    listed = await text_of(page, "pods")
    assert "exit status 1 three times in 60 s" in listed
    assert "starting" in listed
    assert await page.value("[...document.querySelectorAll('#pods .dot')].map(dot => dot.className)") == [
        "dot bad",
        "dot busy",
    ]
    links = await page.value("[...document.querySelectorAll('#pods a')].map(link => link.getAttribute('href'))")
    assert links[0] == "/pods/main-pod/containers/main"


async def test_clones_are_told_apart_by_short_labels_and_keep_them_when_they_are_gone(
    page: Page, zone: FolderZone
) -> None:
    names = [f"runner-pod-ry2bahqon0-{end}" for end in ("j8neb", "x01fa")]
    zone.there = [
        PodView(name, "runner-pod", ("main",), "ready", (f"local-shop-runner-{index}",), label=f"runner-pod-{index}")
        for index, name in enumerate(names)
    ]
    zone.write("printed\n", names[1])
    await come(page, 1)

    shown = (
        "[...document.querySelectorAll('#pods .pod')].map(one => [one.innerText, one.scrollWidth <= one.offsetWidth])"
    )
    assert await texts(page) == ["runner-pod-1 | text | printed"]
    assert await page.value(shown) == [["runner-pod-0", True], ["runner-pod-1", True]]
    assert names[1] in await page.value("document.querySelectorAll('#pods [aria-pressed]')[1].title")
    zone.there = []
    await page.wait_for("pods.length === 0")
    await page.settle()
    assert await page.value(shown) == [["runner-pod-1", True]]


async def test_what_is_new_is_announced_above_the_chosen_line(page: Page, zone: FolderZone) -> None:
    zone.write(numbered(200))
    await come(page, 200)
    await page.press("g", text="g")
    await page.press("Enter")
    zone.write(numbered(5))
    await page.wait_for("!at('newer').hidden")
    await page.settle()

    edges = "[at('newer').getBoundingClientRect().bottom, at('detail').getBoundingClientRect().top]"
    bottom, top = await page.value(edges)
    assert await page.value("at('detail').hidden") is False
    assert bottom <= top


async def test_colours_of_a_terminal_are_shown_and_carriage_returns_obeyed(page: Page, zone: FolderZone) -> None:
    zone.write("plain \x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3mown\x1b[0m \x1b[42mgreen\x1b[0m\n")
    zone.write("\x1b[32mINFO\x1b[0m node coloured level\n10%\r100%\n")
    await come(page, 3)

    spans = "[...document.querySelectorAll('.says span')]"
    red, own, green = [
        await page.value(
            f"{spans}.find(one => one.textContent === '{name}').style.cssText + ' ' + "
            f"{spans}.find(one => one.textContent === '{name}').className"
        )
        for name in ("red", "own", "green")
    ]
    assert "color: light-dark(" in red
    assert red.endswith(" b")
    assert "rgb(1, 2, 3)" in own
    assert "background" in green
    assert [text.split(" | ", 1)[1] for text in await texts(page)] == [
        "text | plain red own green",
        "INFO | node coloured level",
        "text | 100%",
    ]


async def test_a_search_marks_counts_and_goes_from_match_to_match(page: Page, zone: FolderZone) -> None:
    zone.write(numbered(300))
    await come(page, 300)

    await page.press("/", text="/")
    await page.type("LINE 29")
    assert await text_of(page, "found") == "11"
    assert await page.value("document.querySelectorAll('mark').length") == 10

    await page.press("Enter")
    await page.press("Enter")
    assert await text_of(page, "found") == "3 of 11"  # the first in sight was the second of all
    await page.value("list.focus()")
    for _ in range(3):
        await page.press("N", text="N")
    assert await text_of(page, "found") == "11 of 11"
    await page.press("n", text="n")
    assert await page.value("picked.text") == "line 29"

    await page.press("o", text="o")
    assert len(await texts(page)) == 11
    zone.write("line 2999\nline 3\n")
    await come(page, 302)
    assert (await texts(page))[-1].endswith("line 2999")
    await page.press("/", text="/")
    await page.press("Escape")
    assert await page.value("view.length") == 302
    assert await page.value("document.activeElement.id") == "list"


async def test_filters_leave_out_pods_containers_and_levels(page: Page, zone: FolderZone) -> None:
    zone.write(TRACEBACK + "2026-11-24T10:00:03.000 INFO node one\n")
    zone.write("2026-11-24T10:00:03.000 WARNING node two\n", "runner-pod-0", "main")
    zone.write("three\nTraceback (most recent call last):\n  File\nKeyError: 3\nfour\n", "runner-pod-0", "proxy")
    await come(page, 11)

    await page.press("1", text="1")
    without_errors = [text.rsplit(" ", 1)[1] for text in await texts(page)]
    await page.press("1", text="1")
    await click(page, "levels", "only ERROR")
    errors = await texts(page)
    await page.press("a", text="a")
    await click(page, "pods", "only main-pod")
    one_pod = await texts(page)
    await click(page, "pods", "runner-pod-0")
    two_pods = await texts(page)
    await click(page, "pods", "proxy")
    no_proxy = await texts(page)
    await click(page, "pods", "main-pod")
    await click(page, "pods", "runner-pod-0")
    none = await text_of(page, "empty")
    await click(page, "empty", "show all")

    assert sorted(without_errors) == ["four", "one", "three", "two"]
    assert len(errors) == 7
    assert any("KeyError" in text for text in errors)
    assert (len(one_pod), len(two_pods), len(no_proxy)) == (5, 11, 6)
    assert "No line passes the filters" in none
    assert len(await texts(page)) == 11


async def test_it_follows_until_one_scrolls_up_and_again_at_the_end(page: Page, zone: FolderZone) -> None:
    following = "[isFollowing, list.scrollTop + list.clientHeight >= list.scrollHeight - ROW]"
    zone.write(numbered(300))
    await come(page, 300)
    at_first = await page.value(following)

    await page.mouse("mouseWheel", 700, 400, deltaX=0, deltaY=-900)
    zone.write(numbered(100))
    await come(page, 400)
    paused, newer = await page.value(following), await text_of(page, "newer")
    await page.mouse("mouseWheel", 700, 400, deltaX=0, deltaY=99_999)
    at_the_end = await page.value(following)
    await page.press("f", text="f")
    zone.write(numbered(100))
    await come(page, 500)
    stayed = await page.value(following)
    await page.press("f", text="f")

    assert at_first == at_the_end == [True, True]
    assert paused == stayed == [False, False]
    assert newer == "↓ 100 new"
    assert await page.value(following) == [True, True]


async def test_all_can_be_done_by_keyboard(page: Page, zone: FolderZone) -> None:
    zone.write(numbered(200) + TRACEBACK + numbered(50))
    await come(page, 254)
    told = "!!document.getElementById(list.getAttribute('aria-activedescendant'))"
    chosen = f"[picked.text, document.activeElement.id, {told}]"

    await page.press("k", text="k")
    assert await page.value(chosen) == ["line 49", "list", True]
    await page.press("ArrowUp")
    await page.press("j", text="j")
    assert await page.value("picked.text") == "line 49"
    await page.press("g", text="g")
    assert await page.value(chosen) == ["line 0", "list", True]
    await page.press("PageDown")
    assert 20 < await page.value("picked.number") < 60
    await page.press("e", text="e")
    await page.press("Enter")
    assert (await text_of(page, "whole")).splitlines()[-1] == "    | ValueError: no such order"
    await page.press("j", text="j")
    assert (await text_of(page, "whole")).startswith("handler failed")
    await page.press("Escape")
    assert await page.value("at('detail').hidden")
    await page.press("?", text="?")
    assert await page.value("at('keys').open")
    await page.press("Escape")
    await page.press("End")
    assert await page.value("isFollowing")


async def test_colours_are_the_systems_until_one_chooses(page: Page, url: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.value(ground)
    await page.look(dark=True)
    dark = await page.value(ground)
    await page.press("t", text="t")
    chosen_light = await page.value(ground)
    await page.press("t", text="t")
    await page.look()
    chosen_dark = await page.value(ground)
    await page.show(url)

    assert light == chosen_light != dark
    assert chosen_dark == dark == await page.value(ground)


async def test_it_goes_on_by_itself_when_the_server_was_away(zone: FolderZone, tmp_path: Path) -> None:
    zone.write("one\ntwo\nunfinished")
    async with open_page(tmp_path / "profile") as page:
        async with trio.open_nursery() as nursery:
            url: str = await nursery.start(partial(serve_logs, zone, port=0))
            await page.show(url)
            await page.wait_for("lines.length === 3")
            nursery.cancel_scope.cancel()
        banner = await page.wait_for("!at('banner').hidden && at('banner').innerText")
        zone.write(" no more\nthree\n")

        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_logs, zone, port=int(url[-5:])))
            await page.wait_for("isReady && at('banner').hidden && lines.length >= 5")
            await page.settle()
            found = await page.value("lines.filter(line => !line.isNote).map(line => line.text)")
            notes = await page.value("lines.filter(line => line.isNote).map(line => line.text)")
            nursery.cancel_scope.cancel()

    assert "The server is away" in banner
    assert found == ["one", "two", "unfinished no more", "three"]
    assert len(notes) == 1
    assert "the server was away for" in notes[0]


async def test_a_log_that_begins_anew_and_a_line_that_ends_late_are_shown_as_such(page: Page, zone: FolderZone) -> None:
    zone.write("INFO node one\nPassword: ")
    await come(page, 2)
    zone.write("ERROR given\n")
    await page.wait_for("lines[1].text === 'Password: ERROR given'")
    zone.path("main-pod").write_text("INFO node anew\n")
    await come(page, 4)

    assert [text.rsplit(" | ", 1)[-1] for text in await texts(page)] == [
        "node one",
        "Password: ERROR given",
        "the log of main-pod begins anew",
        "node anew",
    ]


async def test_nothing_that_a_pod_writes_becomes_markup_or_breaks_the_page(page: Page, zone: FolderZone) -> None:
    zone.write("\n".join(HOSTILE) + "\n")
    zone.write(b"\xff\xfe\n" + b"x" * 3_000_000 + b"\n")
    zone.there[0] = PodView("main-pod", "<b>", ("main",), "<i>failed", ("<u>",), HOSTILE[1])
    await come(page, len(HOSTILE) + 2)
    for _ in HOSTILE:
        await page.press("k", text="k")
        await page.press("Enter")

    assert await page.value("window.hacked") is None
    assert await page.value("document.querySelectorAll('img, svg, iframe, script').length") == 1
    assert await page.value(
        "[...document.querySelectorAll('.says')].some(one => one.textContent.includes('<img src=x'))"
    )
    assert await page.value("rows.every(row => row.textContent.length < 2200)")
    assert "\u202e" not in await page.value("list.innerText + at('whole').innerText")


async def test_the_policy_lets_no_other_script_run(url: str, tmp_path: Path) -> None:
    async with open_page(tmp_path / "profile") as page:
        await page.show(url)
        script = "Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'})"
        await page.value(f"document.body.append({script})")

        assert await page.value("window.hacked") is None
        assert any("Content Security Policy" in complaint for complaint in page.complaints)


async def test_the_oldest_lines_are_dropped_beyond_a_bound_and_it_says_so(page: Page, zone: FolderZone) -> None:
    await page.value("most = 1000")
    zone.write(numbered(900))
    await come(page, 900)
    await page.press("g", text="g")
    await page.value("pick(500)")
    await page.settle()
    top = "Math.round(picked.number - lines[0].number - list.scrollTop / ROW)"
    before = await page.value(top)
    zone.write(numbered(300))
    await page.wait_for("dropped > 0")
    await page.settle()

    assert await page.value("[lines.length, view.length, dropped, counts[INFO]]") == [1000, 1000, 200, 1000]
    assert await text_of(page, "dropped") == "the oldest 200 dropped; 1,000 are kept"
    assert await page.value(top) == before


async def test_a_hundred_thousand_lines_stay_smooth(
    page: Page, zone: FolderZone, capsys: pytest.CaptureFixture[str]
) -> None:
    zone.write(numbered(100_000))
    await come(page, 100_000)
    await page.press("/", text="/")
    await page.call("Input.insertText", text="line 99998")
    await page.press("Enter")
    assert await page.value("picked.text") == "line 99998"

    frames = await page.value("""new Promise(done => {
        const frames = []; let last = performance.now(); setFollowing(false); list.scrollTop = 50000 * ROW;
        requestAnimationFrame(function step() {
            const now = performance.now(); frames.push(now - last); last = now; list.scrollTop += 3 * ROW;
            if (frames.length < 60) requestAnimationFrame(step); else done(frames.slice(2).sort((a, b) => a - b));
        });
    })""")

    with capsys.disabled():
        print(f"frames while scrolling: median {frames[29]:.1f} ms, worst {frames[-1]:.1f} ms")  # noqa: T201
    assert await page.value("document.querySelectorAll('.row').length") < 100
    assert frames[29] < 500


async def test_it_can_be_used_on_a_narrow_screen(page: Page, zone: FolderZone) -> None:
    zone.write(numbered(50))
    await page.look(width=400, height=700)
    await come(page, 50)
    hidden = await page.value("getComputedStyle(side).visibility")
    await page.value("at('menu').click()")
    await page.settle()
    shown = await page.value("[getComputedStyle(side).visibility, side.contains(document.activeElement)]")
    await page.press("Escape")

    assert await page.value("document.documentElement.scrollWidth") == 400
    assert (hidden, shown) == ("hidden", ["visible", True])
    assert await page.value("[at('menu').ariaExpanded, document.activeElement.id]") == ["false", "menu"]
