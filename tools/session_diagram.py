"""Write the state diagram in docs/explanation/links.md, which is made from the table of transitions in the code.

`python tools/session_diagram.py` changes the page if it must; a test looks whether it is up to date.
"""

from collections.abc import Iterable
from pathlib import Path

from autonomy._sansio.session_terms import TRANSITIONS, State

PAGE = Path("docs/explanation/links.md")
BEGIN = "<!-- made by tools/session_diagram.py, from TRANSITIONS -->\n"
END = "<!-- end of what is made -->\n"

Row = tuple[State, State, str]


def diagram(transitions: Iterable[Row]) -> str:
    """Return a Mermaid state diagram, and the same as a table: what leads from a state to another."""
    order = {state: number for number, state in enumerate(State)}
    rows = sorted(transitions, key=lambda row: (order[row[0]], order[row[1]]))
    arrows = [f"    {name(before)} --> {name(after)}" for before, after, _ in rows]
    cells = [f"| {before.value} | {after.value} | {why} |" for before, after, why in rows]
    drawing = ["```mermaid", "stateDiagram-v2", f"    [*] --> {name(State.NONE)}", *arrows, "```"]
    return "\n".join([*drawing, "", "| from | to | when |", "|---|---|---|", *cells, ""])


def name(state: State) -> str:
    return state.value.capitalize()


def updated(page: str) -> str:
    """Return the page with the diagram as it must be."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} lacks a line {BEGIN.strip()!r}, or {END.strip()!r} after it.")
    return f"{before}{BEGIN}\n{diagram(TRANSITIONS)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
