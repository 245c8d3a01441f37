"""A Dockerfile, as far as it can be honoured without a container engine.

The rule of this file: what is not honoured is refused, with its line and the reason, for a program that runs in another
way than its Dockerfile says is worse than one that does not run. Read: ``FROM`` (whatever it names is not there),
``COPY``, ``ENV``, ``WORKDIR``, ``ENTRYPOINT`` and ``CMD``.

Source: the Dockerfile reference of Docker, narrowed.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._sansio.spec import variable_problem
from .recipe import CopyRule, Recipe
from .strict_yaml import Place, read_small_file
from .zone_keys import INSTRUCTIONS

DOCKERFILE = "Dockerfile"
MAX_BYTES = 64 * 1024
_READ = f"{', '.join([*INSTRUCTIONS][:-1])} and {[*INSTRUCTIONS][-1]} are"
_ESCAPE = re.compile(r"#\s*escape\s*=", re.IGNORECASE)
_PAIR = re.compile(r"([^\s=]+)=")
_WHY = {
    "RUN": "there is no container engine to run it in. Install what the program needs beside autonomy itself",
    "ADD": "write COPY",
    "USER": "the program runs as the user who deploys the zone",
    "ARG": "there is no build to give it to. Write ENV",
}


@dataclass(frozen=True, slots=True)
class _Instruction:
    place: Place
    word: str
    rest: str


def read_dockerfile(image: Path, named: Place) -> Recipe:
    """Return what the Dockerfile in an image's folder says.

    Args:
        image: The folder.
        named: Where the image was named, for a complaint that there is no Dockerfile.

    Raises:
        ZoneFileError: It is not there, or it says something that cannot be honoured.
    """
    path = image / DOCKERFILE
    if path.is_symlink() or not path.is_file():
        raise named.complaint(
            f"image {image.name!r} has no Dockerfile: {str(path)!r} is not there, or is no plain file"
        )
    return parse_dockerfile(read_small_file(path, named, MAX_BYTES), str(path), image)


def parse_dockerfile(text: str, path: str, image: Path | None = None) -> Recipe:
    """Return what `text` says; `path` is for complaints. With `image`, what it copies has to be in that folder."""
    reader = _Reader(image)
    end = Place(path, max(1, len(text.splitlines())), 1)
    for instruction in _instructions(text, path):
        reader.take(instruction)
    return reader.recipe(end)


def _instructions(text: str, path: str) -> Iterator[_Instruction]:
    """Part a Dockerfile into instructions: comments go, lines that end with a backslash go on."""
    begun: Place | None = None
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            if _ESCAPE.match(stripped):
                raise Place(path, number, 1).complaint("the directive 'escape' is not read: lines go on after a '\\'")
            continue
        if not stripped:
            continue
        begun = begun or Place(path, number, len(line) - len(line.lstrip()) + 1)
        parts.append(stripped.removesuffix("\\").strip())
        if stripped.endswith("\\"):
            continue
        yield _instruction(begun, " ".join(parts).strip())
        begun, parts = None, []
    if begun:
        yield _instruction(begun, " ".join(parts).strip())


def _instruction(place: Place, text: str) -> _Instruction:
    word, _, rest = text.partition(" ")
    return _Instruction(place, word.upper(), rest.strip())


class _Reader:
    """Takes one instruction after the other."""

    def __init__(self, image: Path | None) -> None:
        self._image = image
        self._from = False
        self._copies: list[CopyRule] = []
        self._env: dict[str, str] = {}
        self._workdir = "/"
        self._entrypoint: tuple[str, ...] = ()
        self._command: tuple[str, ...] = ()

    def take(self, instruction: _Instruction) -> None:
        place, rest = instruction.place, instruction.rest
        if not self._from and instruction.word != "FROM":
            raise place.complaint("a Dockerfile begins with FROM")
        if not rest:
            raise place.complaint(f"{instruction.word:.20} needs something after it")
        match instruction.word:
            case "FROM" if self._from:
                raise place.complaint("a second FROM is not read: stages need a container engine")
            case "FROM":
                self._from = True
            case "COPY":
                self._copies.append(self._there(place, _copy(place, rest, self._workdir)))
            case "ENV":
                self._env |= _env(place, rest)
            case "WORKDIR":
                self._workdir = _below(self._workdir, _plain(place, rest, "WORKDIR"))
            case "ENTRYPOINT":
                self._entrypoint = _exec_form(place, "ENTRYPOINT", rest)
            case "CMD":
                self._command = _exec_form(place, "CMD", rest)
            case word:
                why = _WHY.get(word)
                raise place.complaint(
                    f"{word!r:.40} is not read on this machine: {why}."
                    if why
                    else f"{word!r:.40} is not read: {_READ}."
                )

    def _there(self, place: Place, rule: CopyRule) -> CopyRule:
        missing = [each for each in rule.sources if self._image and not (self._image / each).exists()]
        if missing:
            raise place.complaint(f"COPY {missing[0]:.60}: there is nothing of that name beside the Dockerfile")
        return rule

    def recipe(self, end: Place) -> Recipe:
        if not self._from:
            raise end.complaint("a Dockerfile begins with FROM")
        argv = self._entrypoint + self._command
        if not argv:
            raise end.complaint('the Dockerfile names no program: write ENTRYPOINT ["python", "main.py"]')
        return Recipe(tuple(self._copies), tuple(self._env.items()), self._workdir, argv)


def _copy(place: Place, rest: str, workdir: str) -> CopyRule:
    if rest.startswith("--"):
        raise place.complaint("COPY with options is not read: write COPY SOURCE DESTINATION")
    words = list(_exec_form(place, "COPY", rest)) if rest.startswith("[") else rest.split()
    if len(words) < 2:
        raise place.complaint("COPY needs a source and a destination: write COPY . .")
    *sources, destination = words
    for source in sources:
        if set(source) & set("*?[$<\\"):
            raise place.complaint(f"COPY {source:.60}: patterns and variables are not read. Name a file or a folder")
    for source in (_plain(place, each, "COPY") for each in sources):
        if ".." in source.split("/"):
            raise place.complaint(f"COPY {source:.60} leads out of the image's folder")
    target = _plain(place, destination, "COPY")
    into = target.endswith("/") or posixpath.basename(target) in (".", "..") or len(sources) > 1
    relative = tuple(posixpath.normpath(each.lstrip("/") or ".") for each in sources)
    return CopyRule(relative, _below(workdir, target), into)


def _env(place: Place, rest: str) -> dict[str, str]:
    first, _, value = rest.partition(" ")
    if "=" not in first:
        pairs = [(first, _unquoted(place, value.strip()))] if value else []
    else:
        pairs = list(_pairs(place, rest))
    if not pairs:
        raise place.complaint("ENV needs a name and a value: write ENV NAME=value")
    for name, _ in pairs:
        if problem := variable_problem(name):
            raise place.complaint(problem)
    return dict(pairs)


def _pairs(place: Place, rest: str) -> Iterator[tuple[str, str]]:
    """Part ``A=1 B="two words" C=a\\ b``."""
    while rest:
        named = _PAIR.match(rest)
        if not named:
            raise place.complaint(f'ENV {rest!r:.60}: write NAME=value, or NAME="two words"')
        end, quote = named.end(), ""
        while end < len(rest) and (quote or not rest[end].isspace()):
            if rest[end] == "\\" and quote != "'":
                end += 1
            elif rest[end] == quote:
                quote = ""
            elif not quote and rest[end] in "\"'":
                quote = rest[end]
            end += 1
        yield named[1], _unquoted(place, rest[named.end() : end])
        rest = rest[end:].lstrip()


def _unquoted(place: Place, text: str) -> str:
    """Return a value without its quotes and escapes."""
    value, quote, at = [], "", 0
    while at < len(text):
        character = text[at]
        if character == "$" and quote != "'":
            raise place.complaint(f"ENV {text!r:.60}: variables are not read. Write the value, or '\\$' for a dollar")
        if character == "\\" and quote != "'" and at + 1 < len(text):
            at += 1
            value.append(text[at] if text[at] in "\\\"'$ " else "\\" + text[at])
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        else:
            value.append(character)
        at += 1
    if quote:
        raise place.complaint(f"ENV {text!r:.60}: a quote is not closed")
    return "".join(value)


def _exec_form(place: Place, word: str, rest: str) -> tuple[str, ...]:
    try:
        argv = json.loads(rest) if rest.startswith("[") else None
    except (ValueError, RecursionError):
        argv = None
    if not isinstance(argv, list) or not all(isinstance(each, str) and "\0" not in each for each in argv):
        raise place.complaint(f'{word} {rest:.60}: a shell is not started. Write {word} ["python", "main.py"]')
    if not argv or not argv[0]:
        raise place.complaint(f"{word} names no program")
    return tuple(argv)


def _plain(place: Place, text: str, word: str) -> str:
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if set(text) & set("$\\\"'") or not text.isprintable() or not text:
        raise place.complaint(f"{word} {text!r:.60}: variables, quotes and escapes are not read. Write the path")
    return text


def _below(workdir: str, path: str) -> str:
    """Return a path in the container; ``..`` never leads above its root."""
    return "/" + posixpath.normpath(posixpath.join("/", workdir, path)).lstrip("/")
