"""A class that the far node has itself is taken from there, if it reads the same; and who may import what (F2, F3)."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from autonomy import CodePolicy, CodeRefused
from autonomy._sansio import shipment
from autonomy._zone.packing import pack
from autonomy._zone.slicing import slice_of
from autonomy._zone.unpacking import unpack

from .shipping import GREETER, SOURCE, packed, program

SHOP = CodePolicy("import", ["shop", "prices"])
POLICIES = pytest.mark.parametrize("policy", [SOURCE, SHOP], ids=lambda policy: policy.mode)
MODULES = ("shop", "prices")


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules can be imported: that of the far node's program."""
    folder = tmp_path / "far"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    file = folder / f"{name.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


@POLICIES
def test_a_class_that_reads_the_same_there_is_imported(tmp_path: Path, far: Path, policy: CodePolicy) -> None:
    data = packed(tmp_path, GREETER + "\nprint", "Greeter('?')", "shop")
    write(far, "shop", "class Other: ...\n" + GREETER)

    accepted = unpack(data, policy)

    assert accepted.mode == "import"
    assert type(accepted.worker) is sys.modules["shop"].Greeter
    assert vars(accepted.worker) == {"mark": "?"}


@pytest.mark.parametrize("there", [GREETER.replace("Hello", "Hi"), "", "class (", None], ids=range(4))
def test_a_class_that_reads_differently_there_or_is_not_there_comes_as_source(
    tmp_path: Path, far: Path, there: str | None
) -> None:
    data = packed(tmp_path, GREETER, "Greeter()", "shop")
    if there is not None:
        write(far, "shop", there)

    accepted = unpack(data, SOURCE)

    assert (accepted.mode, accepted.code) == ("source", "shop.Greeter")
    assert type(accepted.worker).greeting == "Hello"  # type: ignore[attr-defined]
    with pytest.raises(CodeRefused, match="takes only code that it can import itself, and"):
        unpack(data, SHOP)
    assert "shop" not in sys.modules


def test_only_packages_that_the_policy_names_are_imported(tmp_path: Path, far: Path) -> None:
    data = packed(tmp_path, GREETER, "Greeter()", "shop")
    write(far, "shop", GREETER)

    for policy in (
        CodePolicy("import"),
        CodePolicy("import", ["sho", "shop_", "prices"]),
        CodePolicy("never", ["shop"]),
    ):
        with pytest.raises(CodeRefused):
            unpack(data, policy)

    assert "shop" not in sys.modules


@pytest.mark.parametrize("module", ["__main__", "threading", "concurrent.futures.thread", "builtins"])
@POLICIES
def test_neither_main_nor_python_s_own_modules_are_imported(tmp_path: Path, module: str, policy: CodePolicy) -> None:
    manifest = shipment.decode(packed(tmp_path, GREETER, "Greeter()", "shop"))
    data = shipment.encode(msgspec.structs.replace(manifest, mode="import", module=module, source="", reason="why"))

    with pytest.raises(CodeRefused, match="in no module that another node could import"):
        unpack(data, policy)


@pytest.mark.parametrize(
    ("text", "qualname"),
    [
        ("from json import JSONDecoder", "JSONDecoder"),
        ("import json", "json.JSONDecoder"),
        ("class Greeter: ...", "Greeter"),
        ("def Greeter(): ...", "Greeter"),
        ("class A:\n    def handle_message(self): ...\nGreeter = A", "Greeter"),
        ("Greeter = 3", "Greeter"),
    ],
)
def test_nothing_but_a_worker_class_of_that_very_module_is_taken(
    tmp_path: Path, far: Path, text: str, qualname: str
) -> None:
    write(far, "shop", text)
    with program(tmp_path, GREETER, "shop") as module:
        manifest = shipment.decode(pack(module.Greeter()))
    from_far = shipment.digest(slice_of(text, qualname.partition(".")[0]).text)
    forged = msgspec.structs.replace(
        manifest, mode="import", source="", reason="why", qualname=qualname, sha256=from_far
    )

    with pytest.raises(CodeRefused, match="is no class with a method handle_message of that module"):
        unpack(shipment.encode(forged), SHOP)


def test_functions_are_taken_as_source_alone(tmp_path: Path, far: Path) -> None:
    text = f"{GREETER}\ndef make(): return Greeter()\n"
    data = packed(tmp_path, text, "make", "shop")
    write(far, "shop", text)

    assert callable(unpack(data, SOURCE).worker)
    with pytest.raises(CodeRefused, match="is no function of that module that this node takes"):
        unpack(data, SHOP)


# ---- modules beside the program


BUYER = "from prices import tax\nclass Worker:\n    def handle_message(self, c, m): return tax(m)\n"
PRICES = "def tax(price): return price * 2\n"


@pytest.fixture
def buyer(tmp_path: Path, far: Path) -> bytes:
    """A worker that uses a module from its program's folder."""
    near = tmp_path / "near"
    near.mkdir()
    with program(near, PRICES, "prices"):
        return packed(near, BUYER)


def test_a_module_beside_the_program_is_used_if_the_far_node_has_the_same(buyer: bytes, far: Path) -> None:
    write(far, "prices", PRICES)

    assert unpack(buyer, SOURCE).worker.handle_message(None, 3) == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(("there", "words"), [(None, "is not here"), ("def tax(price): ...", "reads differently here")])
def test_a_module_beside_the_program_that_is_not_there_or_another_is_named(
    buyer: bytes, far: Path, there: str | None, words: str
) -> None:
    if there is not None:
        write(far, "prices", there)

    with pytest.raises(CodeRefused, match=f"'prices', which it imports, {words}. Install it on this node, or move it"):
        unpack(buyer, SOURCE)
    assert "prices" not in sys.modules


# ---- classes of packages


def test_a_class_with_relative_imports_goes_by_name_alone(far: Path) -> None:
    write(far, "shop.prices", PRICES)
    write(far, "shop.buyers", BUYER.replace("from prices", "from .prices"))
    write(far, "shop.__init__", "")
    data = pack(import_module("shop.buyers").Worker())

    assert shipment.decode(data).mode == "import"
    assert unpack(data, SHOP).worker.handle_message(None, 3) == 6  # type: ignore[attr-defined]


@POLICIES
def test_a_class_with_relative_imports_is_refused_where_it_is_not_with_the_import(
    far: Path, policy: CodePolicy
) -> None:
    write(far, "shop.prices", PRICES)
    write(far, "shop.buyers", BUYER.replace("from prices", "from .prices"))
    write(far, "shop.__init__", "")
    data = pack(import_module("shop.buyers").Worker())
    (far / "shop" / "buyers.py").unlink()

    why = "come along, for 'tax' comes from 'from .prices import tax'" if policy is SOURCE else "no source of a module"
    with pytest.raises(CodeRefused, match=why):
        unpack(data, policy)


def test_a_class_in_an_archive_is_imported_from_there(
    tmp_path: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed(tmp_path, GREETER, "Greeter('?')", "shop")
    with zipfile.ZipFile(far / "shop.zip", "w") as archive:
        archive.writestr("shop.py", GREETER)
    monkeypatch.syspath_prepend(far / "shop.zip")

    assert unpack(data, SHOP).mode == "import"


def test_a_module_that_fails_to_be_imported_is_refused_with_its_traceback(tmp_path: Path, far: Path) -> None:
    data = packed(tmp_path, GREETER, "Greeter()", "shop")
    write(far, "shop", f"{GREETER}\nprint(1 / 0)  # here\n")

    with pytest.raises(CodeRefused, match=r"(?s)importing shop failed here:.*# here.*ZeroDivisionError"):
        unpack(data, SOURCE)
