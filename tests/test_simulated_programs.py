"""A simulated host runs a program file as it is: what it finds around it is its own, and what it does is the seed's."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from textwrap import dedent

import pytest
import trio

from autonomy.testing import ProgramFailed, Report, Simulation, SimulationFailed

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SELF_CONTAINED = (
    "01_hello",
    "02_counter",
    "05_back_pressure",
    "06_timers",
    "07_blocking_code",
    "19_asyncio_in_workers",
    "20_asyncio_program",
)


def written(folder: Path, source: str, name: str = "program.py") -> Path:
    path = folder / name
    path.write_text(dedent(source))
    return path


def run(path: Path, *hosts: str, until: float = 10.0) -> Report:
    sim = Simulation(1)
    for host in hosts or ("alone",):
        sim.program(host, path)
    return sim.run(until=until)


@pytest.mark.parametrize("name", SELF_CONTAINED)
def test_an_example_prints_on_a_host_what_it_prints_by_itself(name: str) -> None:
    path = EXAMPLES / f"{name}.py"
    _, _, after = path.read_text().partition("# prints:\n")
    expected = [line.removeprefix("#   ") for line in after.splitlines()]

    report = run(path, "node")

    assert report.output["node"] == expected


def test_each_start_is_a_fresh_one(tmp_path: Path) -> None:
    written(tmp_path, "count = 0", "shared.py")
    path = written(
        tmp_path,
        """
        import shared
        from autonomy import Node
        starts = []

        async def main(node):
            import shared as again
            starts.append(node.name)
            again.count += 1
            print(starts, shared.count, __name__)

        if __name__ == "__main__":
            Node.start(main)
        """,
    )

    async def scenario(sim: Simulation) -> None:
        await trio.sleep(1)
        with sim.crash("a"):
            await trio.sleep(1)
        await trio.sleep(1)

    sim = Simulation(1)
    sim.program("a", path)
    sim.program("b", path)
    output = sim.run(scenario).output

    assert output == {"a": ["['a'] 1 __main__"] * 2, "b": ["['b'] 1 __main__"]}
    assert "shared" not in sys.modules


def test_packages_and_further_folders_are_imported_for_each_host(tmp_path: Path) -> None:
    package = tmp_path / "image" / "shop"
    package.mkdir(parents=True)
    written(package, "prices = []", "prices.py")
    written(
        package, "from . import prices\ndef add(price): prices.prices.append(price); return prices.prices", "till.py"
    )
    path = written(
        tmp_path,
        """
        import importlib
        from autonomy import Node
        from shop.till import add

        async def main(node):
            print(add(node.name), importlib.import_module("shop.prices").prices)

        Node.start(main)
        """,
    )

    sim = Simulation(1)
    for name in ("a", "b"):
        sim.program(name, path, modules=[tmp_path / "image"])
    output = sim.run(until=1).output

    assert output == {"a": ["['a'] ['a']"], "b": ["['b'] ['b']"]}


def test_environment_arguments_and_folder_are_the_hosts_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        import os, sys
        from pathlib import Path
        from autonomy import Node

        async def main(node):
            print(node.name, os.environ.get("HOME"))
            print(os.getenv("COLOUR"), sys.argv[1:], Path.cwd().name, Path("here").absolute().parent.name)
            os.environ["SET"] = node.name
            print(sorted(os.environ))

        Node.start(main)
        """,
    )
    before = dict(os.environ), Path.cwd(), list(sys.argv)

    sim = Simulation(1)
    for colour in ("red", "blue"):
        environment = {"CLUSTER": "c", "ZONE": "z", "NODE": colour, "COLOUR": colour}
        folder = tmp_path / colour
        sim.program(f"c-z-{colour}", path, environment=environment, arguments=["-v", colour], folder=folder)
    output = sim.run(until=1).output

    for colour in ("red", "blue"):
        first, second, third = output[f"c-z-{colour}"]
        assert first == f"c-z-{colour} None"
        assert second == f"{colour} ['-v', '{colour}'] {colour} {colour}"
        assert third == "['CLUSTER', 'COLOUR', 'NODE', 'SET', 'ZONE']"
    assert (dict(os.environ), Path.cwd(), list(sys.argv)) == before


def test_programs_reach_each_other_by_name(tmp_path: Path) -> None:
    bank = written(
        tmp_path,
        """
        from autonomy import Node

        class Account:
            async def handle_message(self, context, message):
                await context.reply(f"{message} from {context.sender}")

        async def main(node):
            await node.start_worker("account", Account())

        Node.start(main)
        """,
        "bank.py",
    )
    shop = written(
        tmp_path,
        """
        import trio
        from autonomy import open_node

        async def main():
            async with open_node() as node:
                await trio.sleep(1)
                print(await node.send_and_receive("account@bank", "hello"))

        trio.run(main)
        print("closed")
        """,
        "shop.py",
    )

    sim = Simulation(1)
    sim.program("bank", bank)
    sim.program("shop", shop)
    report = sim.run(until=10)

    assert report.output == {"shop": ["hello from @shop", "closed"]}


def test_relative_paths_lead_into_the_hosts_own_folder(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        import os
        from pathlib import Path
        from autonomy import Node

        async def main(node):
            Path("data").mkdir()
            with open("data/name", "w") as file:
                file.write(node.name)
            os.chdir("data")
            os.rename("name", "called")
            print(Path("called").read_text(), os.listdir(), Path("name").exists(), Path.cwd().name)

        Node.start(main)
        """,
    )
    here = Path.cwd()

    sim = Simulation(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sim.program(name, path, folder=tmp_path / name)
    output = sim.run(until=1).output

    assert output == {name: [f"{name} ['called'] False data"] for name in ("a", "b")}
    assert (tmp_path / "a" / "data" / "called").read_text() == "a"
    assert Path.cwd() == here


def test_dates_are_those_of_the_hosts_clock(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        import datetime, time, trio
        from datetime import UTC, date
        from autonomy import Node

        class Stamp(datetime.datetime):
            pass

        async def main(node):
            await trio.sleep(2)
            now = datetime.datetime.now(UTC)
            print(now.isoformat(), time.gmtime().tm_sec, now.timestamp() == time.time())
            print(isinstance(now, datetime.datetime), isinstance(now, date), isinstance(now, Stamp))
            print(datetime.datetime.strptime("2020", "%Y") == datetime.datetime(2020, 1, 1), Stamp(2020, 1, 1).year)
            today = date.fromtimestamp(time.time())
            print(time.strftime("%S"), time.strftime("%Y", time.gmtime(0)), date.today() == today)
            print(type(now).__module__, now.__reduce__()[0].__name__, type(Stamp.now()).__name__)

        Node.start(main)
        """,
    )

    async def scenario(sim: Simulation) -> None:
        sim.skew("alone", 3600.0)
        await trio.sleep(3)

    sim = Simulation(1)
    sim.program("alone", path)
    output = sim.run(scenario).output["alone"]

    assert output == [
        "2026-01-01T01:00:02+00:00 2 True",
        "True True False",
        "True 2020",
        "02 1970 True",
        "datetime datetime Stamp",
    ]


def test_asyncio_programs_are_turned_off_and_on_like_others(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        import asyncio
        from autonomy import aio

        class Clock:
            async def handle_message(self, context, message):
                await asyncio.sleep(0.5)
                await context.reply(f"{asyncio.get_running_loop().time():.1f}")

        async def main():
            async with aio.open_node() as node:
                await node.start_worker("clock", Clock())
                async with asyncio.timeout(2):
                    print(*await asyncio.gather(node.send_and_receive("clock", ""), asyncio.sleep(1, node.name)))
                await asyncio.Event().wait()

        asyncio.run(main())
        """,
    )

    async def scenario(sim: Simulation) -> None:
        a = await sim.host("a").up()
        await sim.host("b").up()
        await trio.sleep(2)
        assert await a.send_and_receive("clock@b", "") == "2.5"
        with sim.crash("b"):
            await trio.sleep(1)
        await trio.sleep(2)

    sim = Simulation(1)
    for name in ("a", "b"):
        sim.program(name, path)
    report = sim.run(scenario)

    assert {name: len(lines) for name, lines in report.output.items()} == {"a": 1, "b": 2}


def test_what_an_asyncio_program_raises_comes_out_bare(tmp_path: Path) -> None:
    source = """
        import asyncio

        async def main():
            await asyncio.sleep(1)
            raise LookupError("no such thing")

        asyncio.run(main())
        """

    cause, text = failure(written(tmp_path, source))

    assert isinstance(cause, LookupError)
    assert 'program.py", line 6, in main' in text


def test_what_is_printed_is_part_of_the_run() -> None:
    report = run(EXAMPLES / "06_timers.py")

    printed = [moment for moment in report.moments if moment.kind == "print"]
    assert (printed[0].node, printed[0].text) == ("alone", "beat 1")
    assert printed[0].at == pytest.approx(0.1)


STEADY = """
    import asyncio, random, secrets, time, uuid
    import shared
    from autonomy import Node

    class Plain:
        def handle_message(self, context, message):
            time.sleep(0.5)
            context.reply(f"{message} {random.random()} {time.time()}")

    async def main(node):
        await node.start_worker("plain", Plain())
        for _ in range(3):
            await asyncio.sleep(random.random())
            shared.drawn.append(secrets.token_hex(4))
            print(time.monotonic(), uuid.uuid4(), shared.drawn, await asyncio.to_thread(random.random))
            print(await node.send_and_receive("plain", "one"))

    Node.start(main)
    """


def test_the_same_seed_is_the_same_run_of_two_hosts_in_every_process(tmp_path: Path) -> None:
    path = written(tmp_path, STEADY)
    written(tmp_path, "drawn = []", "shared.py")
    again = f"""
        from autonomy.testing import Simulation
        sim = Simulation(5)
        for name in ("a", "b"):
            sim.program(name, {str(path)!r})
        report = sim.run(until=20)
        print(report.trace_hash, *(len(lines) for lines in report.output.values()))
        """

    traces = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", dedent(again)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        traces.add(ended.stdout)

    assert len(traces) == 1
    assert traces.pop().split()[1:] == ["6", "6"]


# --- programs that fail


def failure(path: Path) -> tuple[BaseException, str]:
    with pytest.raises(SimulationFailed) as caught:
        run(path)
    cause = caught.value.__cause__
    assert cause is not None
    return cause, "".join(traceback.format_exception(cause))


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    cause, text = failure(written(tmp_path, "x = 1\ndef broken(:\n"))

    assert isinstance(cause, SyntaxError)
    assert 'program.py", line 2' in text


def test_what_main_raises_shows_the_programs_lines(tmp_path: Path) -> None:
    source = """
        from autonomy import Node

        async def main(node):
            raise LookupError("no such thing")  # here

        Node.start(main)
        """

    cause, text = failure(written(tmp_path, source))

    assert isinstance(cause, LookupError)
    assert 'program.py", line 5, in main' in text
    assert 'raise LookupError("no such thing")  # here' in text
    assert 'program.py", line 7, in <module>' in text


@pytest.mark.parametrize(
    ("does", "instead"),
    [
        ("import threading; threading.Thread(target=print).start()", "Use a plain handler, or to_thread"),
        ("import subprocess; subprocess.run(['true'])", "Use another simulated host"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "Use messages to another simulated host"),
    ],
)
def test_what_leads_outside_is_refused_with_what_to_do_instead(tmp_path: Path, does: str, instead: str) -> None:
    cause, text = failure(written(tmp_path, does))

    assert isinstance(cause, RuntimeError)
    assert instead in str(cause)
    assert does in text


def test_a_program_that_never_opens_a_node_is_told_so(tmp_path: Path) -> None:
    cause, _ = failure(written(tmp_path, "print('done')"))

    assert isinstance(cause, ProgramFailed)
    assert "never opened a node" in str(cause)


def test_an_exit_code_is_a_failure(tmp_path: Path) -> None:
    cause, _ = failure(written(tmp_path, "import sys\nsys.exit('no configuration')"))

    assert isinstance(cause, ProgramFailed)
    assert "left: no configuration" in str(cause)


def test_a_node_of_another_name_is_refused(tmp_path: Path) -> None:
    cause, _ = failure(written(tmp_path, "from autonomy import Node\nNode.start(None, 'other')"))

    assert isinstance(cause, ValueError)
    assert "opens node 'other', but runs on host 'alone'" in str(cause)


def test_a_program_may_start_nodes_one_after_the_other(tmp_path: Path) -> None:
    source = """
        import sys
        from autonomy import Node

        async def main(node):
            print("up")

        for _ in range(2):
            Node.start(main, wait_until_interrupted=False)
        print("over")
        sys.exit()
        """

    report = run(written(tmp_path, source))

    assert report.output["alone"] == ["up", "up", "over"]


def test_there_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no program file"):
        Simulation(1).program("a", tmp_path / "nowhere.py")
