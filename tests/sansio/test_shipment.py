"""Manifests: what is in one is checked before anybody acts on it; and the policy that says what is taken."""

from __future__ import annotations

import msgspec
import pytest

from autonomy import CodePolicy
from autonomy._sansio import plain, shipment
from autonomy._sansio.shipment import MAX_CODE_BYTES, Manifest, digest
from autonomy.errors import CodeRefused

SOURCE = "class Worker: ...\n"
GOOD = Manifest(
    mode="source",
    kind="object",
    module="__main__",
    qualname="Worker",
    state=plain.encode({"x": 1}),
    source=SOURCE,
    sha256=digest(SOURCE),
    needs={"prices": "0" * 64},
    python="3.12",
)


def test_what_is_encoded_is_decoded() -> None:
    assert shipment.decode(shipment.encode(GOOD)) == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "never"},
        {"mode": "import"},
        {"kind": "module"},
        {"module": ""},
        {"module": "os;x"},
        {"module": ".x"},
        {"module": "a..b"},
        {"module": "x" * 513},
        {"qualname": "f.<locals>.Worker"},
        {"qualname": "Worker\n"},
        {"source": "class Worker: pass\n"},
        {"source": ""},
        {"sha256": "0" * 64},
        {"sha256": "0" * 63},
        {"sha256": digest(SOURCE) + "\n"},
        {"needs": {"../x": "0" * 64}},
        {"needs": {"x": "0"}},
        {"needs": {f"m{number}": "0" * 64 for number in range(101)}},
        {"python": "3"},
        {"python": "3.12; rm"},
        {"state": b"x" * MAX_CODE_BYTES},
        {"reason": "x" * 2_001},
    ],
    ids=lambda change: f"{change!r:.40}",
)
def test_a_manifest_that_contradicts_itself_or_the_bounds_is_refused(change: dict[str, object]) -> None:
    data = msgspec.msgpack.encode({**msgspec.to_builtins(GOOD, builtin_types=(bytes,)), **change})

    with pytest.raises(CodeRefused):
        shipment.decode(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x90", b"\x91" * 10_000, b"x" * 2**21], ids=range(6))
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(CodeRefused):
        shipment.decode(data)


def test_too_much_source_and_state_is_refused_at_the_sender_with_a_remedy() -> None:
    half = "#" * (MAX_CODE_BYTES // 2)
    large = msgspec.structs.replace(GOOD, source=half, sha256=digest(half), state=bytes(MAX_CODE_BYTES // 2 + 1))

    with pytest.raises(CodeRefused, match=r"Worker has .* bytes of source .* on_start"):
        shipment.encode(large)


def test_a_policy_takes_nothing_unless_told_otherwise() -> None:
    assert CodePolicy() == CodePolicy("never", ())
    assert CodePolicy("import", ["shop"]) == CodePolicy(mode="import", modules=("shop",))


@pytest.mark.parametrize("mode", ["", "Source", "all", None, True, 1])
def test_a_policy_of_another_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="mode must be"):
        CodePolicy(mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["os", "__main__", "a.b", "", "*", "builtins"])
def test_a_policy_imports_neither_from_python_itself_nor_from_main_nor_from_parts_of_packages(module: str) -> None:
    with pytest.raises(ValueError, match="top-level packages"):
        CodePolicy("import", [module])


@pytest.mark.parametrize("modules", ["shop", 3, [3], None])
def test_a_policy_wants_a_list_of_names(modules: object) -> None:
    with pytest.raises(TypeError, match="list of names"):
        CodePolicy("import", modules)  # type: ignore[arg-type]
