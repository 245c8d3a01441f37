"""Write the tables in docs/reference/wire-format.md, which are made from the frames and items in the code.

`python tools/wire_format.py` changes the page if it must; a test looks whether it is up to date.
"""

import ast
import inspect
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import get_args

import msgspec.inspect

from autonomy._sansio import cargo, envelope, frames
from autonomy._sansio.cargo import Item
from autonomy._sansio.envelope import Failure
from autonomy._sansio.frames import CloseCode, Frame, RejectCode, SessionId

PAGE = Path("docs/reference/wire-format.md")
BEGIN = "<!-- made by tools/wire_format.py, from the frames and items -->\n"
END = "<!-- end of what is made -->\n"
COMMON = {
    "flow": "Number of the flow.",
    "id": "Number of the request, conversation or watch; whoever asks chooses it.",
    "body": "The text.",
    "target": "Name of the worker.",
    "failure": "Why.",
}
"""What fields mean that many items have."""
LARGEST = 2**63 - 1


def tables() -> str:
    """Return every frame and item, field, bound and code."""
    return "\n".join(["## Frames", "", *frame_tables(), "## Items", "", *item_tables()])


def frame_tables() -> list[str]:
    texts = field_texts(ast.parse(inspect.getsource(frames)))
    lines: list[str] = []
    for kind in sorted(get_args(Frame), key=lambda kind: kind.__struct_config__.tag):
        lines += [f"### {kind.__name__.upper()} `0x{kind.__struct_config__.tag:02x}`", "", *paragraphs(kind)]
        lines += [*table(kind, texts), ""]
    lines += ["### A session's id", "", *paragraphs(SessionId), *table(SessionId, texts), ""]
    for codes, title in ((RejectCode, "Codes of REJECT"), (CloseCode, "Codes of CLOSE")):
        lines += [f"### {title}", "", *code_table(codes, texts), ""]
    return lines


def item_tables() -> list[str]:
    texts = field_texts(ast.parse(inspect.getsource(cargo))) | field_texts(ast.parse(inspect.getsource(envelope)))
    lines = [
        f"The body of a DATA frame is an array of items, at most {cargo.MAX_ITEMS:,}, in the order of sending.",
        "An item is an array as a frame is: its kind, then its fields.",
        "A kind that is not known ends the session.",
        "",
    ]
    for kind in sorted(get_args(Item), key=lambda kind: kind.__struct_config__.tag):
        lines += [f"### {kind.__name__} `{kind.__struct_config__.tag}`", "", *paragraphs(kind), *table(kind, texts), ""]
    return [*lines, "### A failure", "", *paragraphs(Failure), *table(Failure, texts), ""]


def table(kind: type[msgspec.Struct], texts: dict[str, str]) -> Iterator[str]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    if not info.fields:
        yield "No fields."
        return
    yield from ("| field | type | without it | meaning |", "|---|---|---|---|")
    for field in info.fields:
        default = "–" if field.required else "none" if field.default is None else f"`{field.default!r}`"
        text = texts.get(f"{kind.__name__}.{field.name}") or COMMON.get(field.name, "")
        yield f"| `{field.name}` | {type_text(field.type)} | {default} | {text} |"


def type_text(kind: msgspec.inspect.Type) -> str:
    """Return a type and its bounds, in words."""
    match kind:
        case msgspec.inspect.IntType(ge=int(low), le=int(high)):
            return f"integer, {low} to {'2⁶³ - 1' if high == LARGEST else f'{high:,}'}"
        case msgspec.inspect.IntType(ge=int(low), lt=int(end)):
            return f"integer, {low} to {end - 1:,}"
        case msgspec.inspect.FloatType(ge=low) if low is not None:
            return f"float, from {low:g} on"
        case msgspec.inspect.StrType(min_length=low, max_length=int(high)):
            return f"text, {low or 0} to {high} characters"
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case msgspec.inspect.VarTupleType(item_type=each, max_length=int(most)):
            return f"array of at most {most:,}: {type_text(each)}"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.BytesType():
            return "bytes"
        case msgspec.inspect.EnumType(cls=cls):
            return "a code of REJECT" if cls is RejectCode else "a code of CLOSE"
        case msgspec.inspect.StructType(cls=cls):
            return "a failure" if cls is Failure else "a session's id"
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(type_text(each) for each in types)
        case msgspec.inspect.NoneType():
            return "nil"
        case _:
            raise TypeError(f"a field of type {kind} has no words here; give it some.")


def code_table(codes: type[IntEnum], texts: dict[str, str]) -> Iterator[str]:
    yield from ("| code | name | meaning |", "|---|---|---|")
    for code in codes:
        yield f"| {code.value} | `{code.name}` | {texts.get(f'{codes.__name__}.{code.name}', '')} |"


def paragraphs(kind: type) -> list[str]:
    """Return what a class says of itself, one sentence a line."""
    text = " ".join((inspect.getdoc(kind) or "").split())
    return [text.replace(". ", ".\n"), ""]


def field_texts(tree: ast.Module) -> dict[str, str]:
    """Return the texts below fields and codes, by class and name."""
    texts: dict[str, str] = {}
    for parent in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for line, below in zip(parent.body, parent.body[1:], strict=False):
            match line, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[f"{parent.name}.{name}"] = " ".join(text.split())
                case _:
                    pass
    return texts


def updated(page: str) -> str:
    """Return the page with the tables as they must be."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} lacks a line {BEGIN.strip()!r}, or {END.strip()!r} after it.")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
