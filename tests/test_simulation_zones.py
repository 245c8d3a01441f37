"""Simulated hosts that are the nodes of a zone: they find each other by its directory, and whole folders become one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
import trio

from autonomy import Context, DirectoryUnavailable, Node, NoReply, WorkerNotFound, Zone, ZoneInfo
from autonomy.errors import DeployFailed, ZoneFileError
from autonomy.testing import Fault, ProgramFailed, Report, Simulation, SimulationFailed, Story

DOCKERFILE = 'FROM scratch\nCOPY . .\nENTRYPOINT ["python", "main.py"]\n'
SERVING = """
    name: greeting
    pods:
      - name: main-pod
        containers:
          - {name: client, image: client, env: {GUESTS: "3"}}
      - name: back
        clones: 2
        containers:
          - {name: greeter, image: greeter}
"""
GREETER = """
    from autonomy import Node

    class Greeter:
        async def handle_message(self, context, message):
            await context.reply(f"Hello, {message}!")

    async def main(node):
        await node.start_worker("greeter", Greeter())
        print(node.name, node.zone.pod, node.zone.index)

    Node.start(main)
"""
CLIENT = """
    import os
    import trio
    from autonomy import Node, NoReply, Zone

    async def main(node):
        for number in range(int(os.environ["GUESTS"])):
            for greeter in await Zone.nodes(node, filter="back"):
                try:
                    print(greeter.short_name, await greeter.send_and_receive("greeter", str(number), timeout=40))
                except NoReply as error:
                    print(greeter.short_name, type(error).__name__)
            await trio.sleep(4)

    Node.start(main)
"""
SHIPPED = """
    from autonomy import Node, Zone

    class Processor:
        def __init__(self, prefix):
            self.prefix = prefix

        async def handle_message(self, context, message):
            await context.reply(f"{self.prefix}: {message}")

    async def main(node):
        greeters = await Zone.nodes(node, filter="greeter")
        for number, greeter in enumerate(greeters):
            await greeter.start_worker(f"processor-{number}", Processor("processed"))
        for number in range(len(greeters)):
            print(await node.send_and_receive(f"processor-{number}", f"task-{number}", timeout=10))

    Node.start(main)
"""
ALONE = "name: alone\npods: [{name: pod, containers: [{name: one, image: one}]}]\n"


class Greeter:
    """A worker that says where it is."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"Hello, {message}, from {context.node.name}!")


def written(folder: Path, zone: str, **programs: str) -> Path:
    (folder / "autonomy.yaml").write_text(dedent(zone))
    for name, source in programs.items():
        image = folder / "images" / name
        image.mkdir(parents=True)
        (image / "Dockerfile").write_text(DOCKERFILE)
        (image / "main.py").write_text(dedent(source))
    return folder


async def greet(node: Node) -> None:
    await node.start_worker("greeter", Greeter())


@pytest.mark.parametrize("directory", [None, "a"])
def test_hosts_find_workers_and_nodes_by_the_directory(directory: str | None) -> None:
    seen: list[object] = []

    async def scenario(sim: Simulation) -> None:
        b = await sim.host("b").up()
        seen.append(await b.send_and_receive("greeter", "B"))
        seen.append([node.name for node in await Zone.nodes(b)])

    sim = Simulation(1, zone=ZoneInfo(), directory=directory)
    sim.node("a", greet)
    sim.node("b")
    sim.run(scenario)

    assert seen == ["Hello, B, from a!", ["a", "b"]]


def test_a_name_is_waited_for_until_main_has_returned() -> None:
    async def late(node: Node) -> None:
        await trio.sleep(3)
        await greet(node)

    async def scenario(sim: Simulation) -> None:
        b = await sim.host("b").up()
        assert await b.send_and_receive("greeter", "B") == "Hello, B, from a!"
        assert trio.current_time() >= 3
        with pytest.raises(WorkerNotFound):
            await b.send_and_receive("nobody", "B")
        assert trio.current_time() < 4

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a", late)
    sim.node("b")
    sim.run(scenario)


def test_workers_are_shipped_between_hosts() -> None:
    async def scenario(sim: Simulation) -> None:
        a = await sim.host("shop-a").up()
        await trio.sleep(1)
        b = await Zone.node(a, "b")
        assert b is not None
        await b.start_worker("greeter", Greeter())
        assert await a.send_and_receive("greeter", "A") == "Hello, A, from shop-b!"

    sim = Simulation(1, zone=ZoneInfo("shop"))
    sim.node("shop-a")
    sim.node("shop-b")
    sim.run(scenario)


def test_names_that_are_known_work_while_the_directory_is_off_and_others_when_it_is_back() -> None:
    async def scenario(sim: Simulation) -> None:
        b = await sim.host("b").up()
        assert await b.send_and_receive("greeter", "1")
        with sim.crash("zone_authority"):
            await trio.sleep(1)
            assert await b.send_and_receive("greeter", "2")
            with pytest.raises(DirectoryUnavailable):
                await b.send_and_receive("other", "3", timeout=5)
        a = await sim.host("a").up()
        await a.start_worker("other", Greeter())
        await trio.sleep(15)
        assert await b.send_and_receive("other", "4")

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a", greet)
    sim.node("b")
    sim.run(scenario)


def test_a_node_that_left_the_zone_is_refused_at_once_while_a_link_with_it_is_still_stuck() -> None:
    outcomes: list[tuple[str, float]] = []

    async def flood(b: Node) -> None:
        while True:
            with suppress(NoReply):
                await b.send_message("greeter@a", "x" * 200_000)
            await trio.sleep(0.1)

    async def scenario(sim: Simulation) -> None:
        await sim.host("a").up()
        b = await sim.host("b").up()
        async with trio.open_nursery() as nursery:
            for _ in range(20):  # so that the link takes no more once nobody reads, and cannot be closed in good order
                nursery.start_soon(flood, b)
            await trio.sleep(1)
            sim.power_loss("a")
            await trio.sleep(10.5)
            began = trio.current_time()
            while trio.current_time() - began < 10:
                with pytest.raises(NoReply) as caught:
                    await b.send_and_receive("greeter@a", "x", timeout=30)
                outcomes.append((type(caught.value).__name__, caught.value.elapsed))
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a", greet)
    sim.node("b")
    sim.run(scenario)

    assert {name for name, _ in outcomes} == {"Unreachable"}
    assert max(elapsed for _, elapsed in outcomes) < 0.1


def test_two_starts_of_one_name_are_told_apart_and_the_newest_has_it() -> None:
    async def scenario(sim: Simulation) -> None:
        b = await sim.host("b").up()
        await trio.sleep(1)
        with sim.duplicate("a"):
            await trio.sleep(15)
            assert [node.name for node in await Zone.nodes(b)] == ["a", "b"]

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a", greet)
    sim.node("b")
    sim.run(scenario)


def test_that_nobody_had_a_name_when_another_asked_is_no_answer() -> None:
    told: list[str] = []

    async def ask(node: Node, text: str) -> None:
        try:
            told.append(await node.send_and_receive("late", text))
        except WorkerNotFound:
            told.append(f"nobody for {text}")

    async def scenario(sim: Simulation) -> None:
        a, b = await sim.host("a").up(), await sim.host("b").up()
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            with sim.hold("zone_authority", "a"):
                nursery.start_soon(ask, a, "1")
                await trio.sleep(1)
                await b.start_worker("late", Greeter())
                nursery.start_soon(ask, a, "2")
                await trio.sleep(1)

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a")
    sim.node("b")
    sim.run(scenario)

    assert sorted(told) == ["Hello, 2, from b!", "nobody for 1"]


def test_the_time_in_which_a_name_was_looked_up_counts() -> None:
    async def late(node: Node) -> None:
        await trio.sleep(2)
        await greet(node)

    async def scenario(sim: Simulation) -> None:
        a, _ = await sim.host("a").up(), await sim.host("b").up()
        began = trio.current_time()
        with sim.partition("a", "b"), pytest.raises(NoReply):
            await a.send_and_receive("greeter", "A", timeout=5)
        assert trio.current_time() - began == pytest.approx(5, abs=0.001)

    sim = Simulation(1, zone=ZoneInfo())
    sim.node("a")
    sim.node("b", late)
    sim.run(scenario)


# --- zones of folders


def run(folder: Path, *faults: Fault, until: float = 60.0) -> Report:
    sim = Simulation(5)
    sim.zone(folder)
    sim.apply(Story(tuple(faults)))
    return sim.run(until=until)


def test_a_folder_becomes_a_zone_whose_main_pod_starts_last(tmp_path: Path) -> None:
    folder = written(tmp_path, SERVING, client=CLIENT, greeter=GREETER)

    report = run(folder)

    client = [f"greeter-{index} Hello, {number}!" for number in range(3) for index in range(2)]
    assert report.output == {
        "local-greeting-client": client,
        "local-greeting-greeter-0": ["local-greeting-greeter-0 back 0"],
        "local-greeting-greeter-1": ["local-greeting-greeter-1 back 1"],
    }
    starts = [moment.node for moment in report.moments if moment.kind == "start"]
    assert starts[-1] == "local-greeting-client"


def test_a_folder_with_workers_that_are_shipped_runs_as_deployed(tmp_path: Path) -> None:
    folder = written(tmp_path, SERVING, client=SHIPPED, greeter="from autonomy import Node\nNode.start()\n")

    report = run(folder, until=20)

    assert report.output == {"local-greeting-client": ["processed: task-0", "processed: task-1"]}


def test_faults_in_a_zone_repeat_from_the_same_seed(tmp_path: Path) -> None:
    folder = written(tmp_path, SERVING, client=CLIENT, greeter=GREETER)
    faults = [
        Fault("partition", ("local-greeting-client", "local-greeting-greeter-0"), 2, 20),
        Fault("crash", ("local-greeting-zone_authority",), 3, 5),
        Fault("crash", ("local-greeting-greeter-1",), 4.5, 1),
    ]

    first, second = run(folder, *faults), run(folder, *faults)

    assert first.trace_hash == second.trace_hash
    assert first.output == second.output
    assert len(first.output["local-greeting-greeter-1"]) == 2
    assert len(first.output["local-greeting-client"]) >= 3


def test_each_run_begins_with_fresh_copies_and_a_restart_keeps_them(tmp_path: Path) -> None:
    source = """
        from pathlib import Path
        from autonomy import Node
        path = Path("starts")
        path.write_text((path.read_text() if path.exists() else "") + "x")
        print(path.read_text())
        Node.start()
    """
    folder = written(tmp_path, ALONE, one=source)
    sim = Simulation(1)
    sim.zone(folder)

    async def scenario(sim: Simulation) -> None:
        await trio.sleep(1)
        with sim.crash("local-alone-one"):
            await trio.sleep(1)
        await trio.sleep(1)

    for _ in range(2):
        assert sim.run(scenario).output == {"local-alone-one": ["x", "xx"]}
    assert not (folder / "images" / "one" / "starts").exists()


def test_a_program_that_fails_is_started_again_as_often_as_in_a_deployed_zone(tmp_path: Path) -> None:
    source = """
        from pathlib import Path
        from autonomy import Node
        async def main(node):
            with open("starts", "a") as file:
                file.write("x")
            count = len(Path("starts").read_text())
            print(count)
            if count < {fine}:
                raise OSError("not yet")
        Node.start(main)
    """
    folder = written(tmp_path, ALONE, one=source.replace("{fine}", "4"))

    report = run(folder, until=30)

    assert report.output == {"local-alone-one": ["1", "2", "3", "4"]}
    stops = [moment.text for moment in report.moments if moment.kind == "stop"]
    assert stops == ["its program has failed, and is started again: OSError"] * 3

    (folder / "images" / "one" / "main.py").write_text(dedent(source.replace("{fine}", "9")))
    with pytest.raises(SimulationFailed, match="not yet"):
        run(folder, until=30)


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ('ENTRYPOINT ["bash", "main.sh"]', "runs 'bash main.sh'"),
        ('ENTRYPOINT ["python", "-m", "main"]', "runs 'python -m main'"),
        ('ENTRYPOINT ["python"]', "runs 'python'"),
    ],
)
def test_what_is_no_python_file_is_refused(tmp_path: Path, instructions: str, said: str) -> None:
    folder = written(tmp_path, ALONE, one="")
    (folder / "images" / "one" / "Dockerfile").write_text(f"FROM scratch\nCOPY . .\n{instructions}\n")

    with pytest.raises(ZoneFileError, match=said):
        Simulation(1).zone(folder)


def test_a_file_that_is_not_there_is_told_before_the_run(tmp_path: Path) -> None:
    folder = written(tmp_path, ALONE, one="")
    (folder / "images" / "one" / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["python", "main.py"]\n')

    with pytest.raises(DeployFailed, match=r"no such file"):
        Simulation(1).zone(folder)


def test_a_simulation_has_one_zone(tmp_path: Path) -> None:
    folder = written(tmp_path, ALONE, one="")

    with pytest.raises(ValueError, match="has a zone already"):
        Simulation(1, zone=ZoneInfo()).zone(folder)
    with pytest.raises(ValueError, match="no host 'a' to keep"):
        Simulation(1, zone=ZoneInfo(), directory="a").run(until=1)


def environment_of(folder: Path, given: Mapping[str, str]) -> list[str]:
    sim = Simulation(1)
    sim.zone(folder, cluster="acme", environment=given)
    return sim.run(until=1).output["acme-alone-one"]


def test_a_container_has_the_environment_of_the_file_over_that_of_the_image_over_that_of_all(tmp_path: Path) -> None:
    source = 'import os\nfrom autonomy import Node\nprint(*sorted(os.environ.items()), sep="\\n")\nNode.start()\n'
    zone = ALONE.replace("image: one", "image: one, env: [{C: file}]")
    folder = written(tmp_path, zone, one=source)
    (folder / "images" / "one" / "Dockerfile").write_text(DOCKERFILE.replace("COPY", "ENV B=image C=image\nCOPY"))

    found = environment_of(folder, {"A": "all", "B": "all", "C": "all"})

    expected = {"A": "all", "B": "image", "C": "file", "CLUSTER": "acme", "NODE": "one", "ZONE": "alone"}
    assert found == [str(item) for item in expected.items()]


def test_a_program_that_opens_no_node_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulationFailed) as failed:
        run(written(tmp_path, ALONE, one="pass"), until=30)
    assert isinstance(failed.value.__cause__, ProgramFailed)
