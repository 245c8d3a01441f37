"""Whatever bytes come as a shipment, the worst is `CodeRefused`, and what is refused was neither imported nor run."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import msgspec
import pytest

from autonomy import CodePolicy, CodeRefused
from autonomy._sansio import plain, shipment
from autonomy._sansio.shipment import Manifest, digest
from autonomy._zone import shipped_modules, unpacking
from autonomy._zone.unpacking import unpack

from .shipping import GREETER, SOURCE

INPUTS = 4_000
"""For each kind of input; there are four, and most of these are tried with each policy."""
POLICIES = [SOURCE, CodePolicy("import", ["tests", "autonomy"]), CodePolicy()]
MANIFEST = Manifest(
    mode="source",
    kind="object",
    module="__main__",
    qualname="Greeter",
    state=plain.encode({"mark": "!"}),
    source=GREETER,
    sha256=digest(GREETER),
    needs={},
    python="3.12",
)
STATES: list[object] = [
    None,
    1,
    [],
    "x",
    {},
    {1: 2},
    {"__class__": 3, "__dict__": 4},
    (),
    (1, 2),
    ({}, {"__class__": int.__name__}),
    ({}, {"handle_message": 1}, {}),
    ((), {}),
    ((1,), {"mark": 2}),
    ((1,), {3: 4}),
    {"x": 10**5000},
]


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules that are loaded meanwhile."""
    before = set(sys.modules)
    monkeypatch.setattr(shipped_modules, "_loaded", {})
    yield
    for name in set(sys.modules) - before:
        if name.startswith("autonomy_shipped_"):
            del sys.modules[name]


def survives(data: bytes, policy: CodePolicy) -> bool:
    """Whether bytes were taken; anything but `CodeRefused` comes out."""
    try:
        unpack(data, policy)
    except CodeRefused:
        return False
    return True


def flipped(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with some changed, left out or put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                del changed[place : place + chance.randint(1, 9)]
            case _:
                changed[place:place] = chance.randbytes(chance.randint(1, 9))
        changed = changed or bytearray(1)
    return bytes(changed)


def resealed(chance: random.Random) -> bytes:
    """Return a manifest whose parts are all valid, and seldom fit."""
    source = chance.choice(
        [GREETER] * 4 + ["x = 1", "(" * 300, "-" * 50_000 + "1", "\x00", "1 / 0", "raise SystemExit"]
    )
    if chance.random() < 0.3:
        source = flipped(chance, source.encode()).decode(errors="ignore") or "x"
    mode = chance.choice(["source", "source", "import"])
    return msgspec.msgpack.encode(
        msgspec.structs.replace(
            MANIFEST,
            mode=mode,
            kind=chance.choice(["object", "class", "partial", "function"]),
            module=chance.choice(
                ["__main__", "tests.workers", "tests.nowhere", "json", "autonomy", "x.y.z", "os.path"]
            ),
            qualname=chance.choice(
                ["Greeter"] * 5 + ["Echo", "Greeter.greeting", "Greeter.handle_message", "open", "__doc__"]
            ),
            state=plain.encode(chance.choice(STATES)),
            source=source if mode == "source" else "",
            reason="" if mode == "source" else "why",
            sha256=digest(source),
            needs=chance.choice([{}, {}, {}, {"prices": "0" * 64}, {"json.nowhere": "0" * 64}]),
        )
    )


def any_tree(chance: random.Random, depth: int = 0) -> object:
    """Return something that msgpack can carry."""
    scalars = [None, True, 0, -1, 2**63, 1.5, float("nan"), "", "x", b"", b"\xff", msgspec.msgpack.Ext(5, b"x")]
    if depth > 4 or chance.random() < 0.4:
        return chance.choice(scalars)
    items = [any_tree(chance, depth + 1) for _ in range(chance.randrange(5))]
    if chance.random() < 0.7:
        return [chance.randrange(8), *items]
    return {chance.choice(["mode", "kind", "source", "x"]): each for each in items}


def test_random_bytes_are_refused() -> None:
    chance = random.Random(1)

    taken = [survives(chance.randbytes(chance.randrange(200)), chance.choice(POLICIES)) for _ in range(INPUTS)]

    assert not any(taken)


def test_a_shipment_with_bytes_changed_is_refused_or_means_something() -> None:
    chance, good = random.Random(2), shipment.encode(MANIFEST)

    taken = [survives(flipped(chance, good), SOURCE) for _ in range(INPUTS)]

    assert survives(good, SOURCE)
    assert sum(taken) < INPUTS // 10


def test_a_state_of_any_shape_is_refused_or_means_something() -> None:
    chance = random.Random(3)

    taken = 0
    for _ in range(INPUTS):
        data = msgspec.msgpack.encode(any_tree(chance))
        taken += survives(msgspec.msgpack.encode(msgspec.structs.replace(MANIFEST, state=data)), SOURCE)
        assert not survives(data, SOURCE)

    assert 0 < taken < INPUTS


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.slow
def test_manifests_whose_parts_do_not_fit_are_refused() -> None:
    chance = random.Random(4)

    taken = [survives(resealed(chance), policy) for _ in range(INPUTS // 3) for policy in POLICIES]

    assert 0 < sum(taken) < INPUTS // 3


def test_nothing_of_a_refused_shipment_is_imported_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(unpacking, "module_of", lambda source, python: did.append("run"))
    monkeypatch.setattr(unpacking, "import_module", lambda name: did.append(f"import {name}"))
    changes: list[dict[str, object]] = [
        {"sha256": "0" * 64},
        {"state": b"\xc1"},
        {"state": plain.encode([1]), "kind": "class"},
        {"module": "a b"},
        {"needs": {"nowhere": "0" * 64}},
        {"source": "import nowhere\n", "sha256": digest("import nowhere\n")},
        {"mode": "import", "source": "", "module": "tests.workers", "qualname": "Echo"},
    ]
    for change in changes:
        data = msgspec.msgpack.encode(msgspec.structs.replace(MANIFEST, **change))
        for policy in POLICIES:
            with pytest.raises(CodeRefused):
                unpack(data, policy)
    for policy in POLICIES[1:]:
        with pytest.raises(CodeRefused):
            unpack(shipment.encode(MANIFEST), policy)

    assert did == []


def test_a_source_for_another_python_is_refused_with_both_versions() -> None:
    source = "class Greeter:\n    def handle_message(self) !: ...\n"
    data = shipment.encode(msgspec.structs.replace(MANIFEST, source=source, sha256=digest(source), python="3.99"))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"

    with pytest.raises(CodeRefused, match=rf"(?s)comes from Python 3.99, and Python {here} cannot read it: .*!: "):
        unpack(data, SOURCE)


def test_sources_without_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_modules, "MAX_MODULES", 3)

    def shipped(number: int) -> bytes:
        source = f"{GREETER}\nx = {number}\n"
        return shipment.encode(msgspec.structs.replace(MANIFEST, source=source, sha256=digest(source)))

    assert all(survives(shipped(number), SOURCE) for number in range(3))
    with pytest.raises(CodeRefused, match="has run 3 different sources already"):
        unpack(shipped(3), SOURCE)
    assert survives(shipped(2), SOURCE)


def test_an_interrupt_while_source_runs_comes_out_and_leaves_nothing() -> None:
    source = "raise KeyboardInterrupt"
    data = shipment.encode(msgspec.structs.replace(MANIFEST, source=source, sha256=digest(source)))

    with pytest.raises(KeyboardInterrupt):
        unpack(data, SOURCE)

    assert f"autonomy_shipped_{digest(source)[:16]}" not in sys.modules
