"""Dockerfiles: what is honoured, and what is refused with its line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._deploy.dockerfile import parse_dockerfile
from autonomy._deploy.recipe import CopyRule, Recipe
from autonomy.errors import ZoneFileError

END = 'CMD ["python", "main.py"]\n'


def read(*lines: str) -> Recipe:
    """Return what a Dockerfile of these lines, after FROM and before CMD, says."""
    return parse_dockerfile("FROM base\n" + "".join(f"{line}\n" for line in lines) + END, "Dockerfile")


def test_the_dockerfile_of_the_first_programs_is_honoured() -> None:
    text = 'FROM ghcr.io/somebody/something\nCOPY . .\nENTRYPOINT ["python", "main.py"]\n'

    recipe = parse_dockerfile(text, "Dockerfile")

    assert recipe == Recipe((CopyRule((".",), "/", into=True),), (), "/", ("python", "main.py"))
    assert recipe.command("/usr/bin/python9") == ("/usr/bin/python9", "main.py")


def test_comments_empty_lines_and_long_lines_are_understood() -> None:
    text = "# syntax=docker/dockerfile:1\n\nfrom base as final\n  env A=1 \\\n  # within\n    B=2\n" + END

    assert parse_dockerfile(text, "Dockerfile").env == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize(
    ("line", "env"),
    [
        ("ENV A=1", {"A": "1"}),
        ("ENV A 1 and more", {"A": "1 and more"}),
        ('ENV A="one two" B=three', {"A": "one two", "B": "three"}),
        ("ENV A=one\\ two B='$x'", {"A": "one two", "B": "$x"}),
        ('ENV A="say \\"hi\\"" B=\\$5', {"A": 'say "hi"', "B": "$5"}),
        ("ENV A=", {"A": ""}),
    ],
)
def test_variables_are_set(line: str, env: dict[str, str]) -> None:
    assert dict(read(line).env) == env


@pytest.mark.parametrize(
    ("lines", "copies", "workdir"),
    [
        (["WORKDIR /app", "COPY . ."], [CopyRule((".",), "/app", into=True)], "/app"),
        (["WORKDIR /app", "WORKDIR sub/../x"], [], "/app/x"),
        (["WORKDIR ../../.."], [], "/"),
        (["COPY main.py lib/ /app/"], [CopyRule(("main.py", "lib"), "/app", into=True)], "/"),
        (["COPY main.py other.py"], [CopyRule(("main.py",), "/other.py", into=False)], "/"),
        (['COPY ["a b", "c"]'], [CopyRule(("a b",), "/c", into=False)], "/"),
        (["COPY /main.py ."], [CopyRule(("main.py",), "/", into=True)], "/"),
    ],
)
def test_files_go_where_the_dockerfile_says(lines: list[str], copies: list[CopyRule], workdir: str) -> None:
    recipe = read(*lines)

    assert (list(recipe.copies), recipe.workdir) == (copies, workdir)


def test_the_command_comes_after_the_entrypoint() -> None:
    text = 'FROM base\nCMD ["--fast"]\nENTRYPOINT ["python3.12", "main.py"]'

    assert parse_dockerfile(text, "Dockerfile").command("PYTHON") == ("PYTHON", "main.py", "--fast")


def test_a_program_that_is_not_python_stays() -> None:
    text = 'FROM base\nCMD ["/usr/bin/env", "python", "x"]'

    assert parse_dockerfile(text, "Dockerfile").command("PYTHON") == ("/usr/bin/env", "python", "x")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["RUN pip install x"], "2:1: 'RUN' is not read on this machine: there is no container engine to run it in"),
        (
            ["", "  HEALTHCHECK NONE"],
            "3:3: 'HEALTHCHECK' is not read: FROM, COPY, ENV, WORKDIR, ENTRYPOINT and CMD are",
        ),
        (["FROM other"], "2:1: a second FROM is not read"),
        (["CMD python main.py"], '2:1: CMD python main.py: a shell is not started. Write CMD ["python", "main.py"]'),
        (["ENTRYPOINT ['python']"], "2:1: ENTRYPOINT ['python']: a shell is not started"),
        (["CMD []"], "2:1: CMD names no program"),
        (["CMD [" * 3000], "2:1: CMD [CMD"),
        (["COPY --from=x . ."], "2:1: COPY with options is not read"),
        (["COPY ."], "2:1: COPY needs a source and a destination"),
        (["COPY *.py ."], "2:1: COPY *.py: patterns and variables are not read"),
        (["COPY ../secret ."], "2:1: COPY ../secret leads out of the image's folder"),
        (["COPY a/../../b ."], "2:1: COPY a/../../b leads out of the image's folder"),
        (["COPY . $HOME"], "2:1: COPY '$HOME': variables"),
        (["ENV A=$B"], "2:1: ENV '$B': variables are not read"),
        (['ENV A="x'], "2:1: ENV '\"x': a quote is not closed"),
        (["ENV A"], "2:1: ENV needs a name and a value"),
        (["ENV A=1 B"], "2:1: ENV 'B': write NAME=value"),
        (["ENV NODE=x"], "2:1: environment variable NODE says who a node is"),
        (["ENV"], "2:1: ENV needs something after it"),
        (["WORKDIR ${X}"], "2:1: WORKDIR '${X}': variables"),
        (["# escape=`"], "2:1: the directive 'escape' is not read"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(ZoneFileError) as caught:
        read(*lines)

    assert str(caught.value).startswith(f"Dockerfile:{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Dockerfile:1:1: a Dockerfile begins with FROM"),
        ("COPY . .", "Dockerfile:1:1: a Dockerfile begins with FROM"),
        ("FROM base\nCOPY . .", "Dockerfile:2:1: the Dockerfile names no program"),
    ],
)
def test_what_is_no_dockerfile_is_refused(text: str, said: str) -> None:
    with pytest.raises(ZoneFileError) as caught:
        parse_dockerfile(text, "Dockerfile")

    assert str(caught.value).startswith(said)


@given(st.text(alphabet="FROMCPYENVD .[]\"'\\=$#\n<a/", max_size=80) | st.text(max_size=40))
def test_any_text_is_a_recipe_or_a_complaint(text: str) -> None:
    for whole in (text, f"FROM base\nENV {text}\nCOPY {text} .\n{END}"):
        with suppress(ZoneFileError):
            recipe = parse_dockerfile(whole, "Dockerfile")
            assert recipe.argv
            assert all(".." not in source.split("/") for rule in recipe.copies for source in rule.sources)
