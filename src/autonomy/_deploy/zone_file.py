"""``autonomy.yaml`` and the folders beside it: what somebody wants a zone to be.

The rule of this file: everything is read and checked before anything is done, and each complaint says where. Nothing
outside of the zone's own folder is ever read. Next: `dockerfile.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from .._sansio.spec import (
    MAX_CLONES,
    ContainerSpec,
    PodSpec,
    SecretVariable,
    Size,
    ZoneSpec,
    container_name_problem,
    first_collision,
    pod_name_problem,
    reference_problem,
    secret_problem,
    variable_problem,
    zone_name_problem,
)
from .dockerfile import read_dockerfile
from .recipe import Recipe
from .strict_yaml import (
    Items,
    Place,
    Table,
    Text,
    Value,
    as_items,
    as_number,
    as_statement,
    as_table,
    as_text,
    read_yaml,
    required,
)
from .zone_keys import CONTAINER_KEYS, POD_KEYS, ZONE_KEYS

ZONE_FILE = "autonomy.yaml"
_IMAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image that a zone names: its folder, and what the Dockerfile in it says."""

    folder: Path
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class ZoneFolder:
    """All that a zone's folder says."""

    folder: Path
    spec: ZoneSpec
    images: Mapping[str, WantedImage]


def read_cluster_zone(folder: Path) -> ZoneSpec:
    """Read ``autonomy.yaml`` in `folder` for machines that have a container engine: Dockerfiles are its to read.

    Raises:
        ZoneFileError: Something in it is not as it must be, or a secret stands in the open; or an image has no folder.
    """
    reader = _Reader(secrets_elsewhere=True)
    spec = reader.zone(read_yaml(folder / ZONE_FILE))
    for name, place in reader.images.items():
        find_image(folder, name, place)
    return spec


def read_zone_folder(folder: Path) -> ZoneFolder:
    """Read ``autonomy.yaml`` in `folder`, and the Dockerfile of each image that it names.

    Raises:
        ZoneFileError: Something in it is not as it must be. One error is told at a time, with its place.
    """
    reader = _Reader()
    spec = reader.zone(read_yaml(folder / ZONE_FILE))
    images = {}
    for name, place in reader.images.items():
        image = find_image(folder, name, place)
        images[name] = WantedImage(image, read_dockerfile(image, place))
    if reader.secret is not None:
        raise reader.secret.complaint(
            "there are no Secrets on one machine: containers see the environment of whoever deploys the zone. Set the "
            "variable there, and leave it out here"
        )
    return ZoneFolder(folder, spec, images)


def read_zone_file(path: Path) -> ZoneSpec:
    """Read a zone file alone, without the images that it names.

    Raises:
        ZoneFileError: As for `read_zone_folder`.
    """
    return _Reader().zone(read_yaml(path))


def find_image(folder: Path, name: str, place: Place) -> Path:
    """Return the folder of an image, which is below ``images`` and does not lead out of it.

    Raises:
        ZoneFileError: There is none, or it is elsewhere; `place` is where the image was named.
    """
    images = folder / "images"
    path = images / name
    if not path.is_dir():
        there = sorted(each.name for each in images.iterdir() if each.is_dir()) if images.is_dir() else []
        known = f"there are {', '.join(there)}" if there else "there are none"
        raise place.complaint(f"image {name!r} has no folder 'images/{name}' beside {ZONE_FILE}: {known}"[:400])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise place.complaint(f"image {name!r}: 'images/{name}' leads out of the folder of {ZONE_FILE}")
    return path


class _Reader:
    """Makes a specification of values, and remembers where what stood.

    Args:
        secrets_elsewhere: Whether secrets have a place of their own, so that none may stand in the file.
    """

    def __init__(self, *, secrets_elsewhere: bool = False) -> None:
        self._secrets_elsewhere = secrets_elsewhere
        self.secret: Place | None = None
        """Where a variable is first that is kept elsewhere."""
        self.images: dict[str, Place] = {}
        """Each image that is named, and where it is first."""
        self._containers: list[list[Place]] = []

    def zone(self, value: Value) -> ZoneSpec:
        table = as_table(value, "a zone file", ZONE_KEYS)
        name = _named(required(table, "name", "a zone file", value), "the zone's name", zone_name_problem)
        pods = required(table, "pods", "a zone file", value)
        spec = ZoneSpec(name, tuple(map(self._pod, as_items(pods, "pods", such="- name: main-pod"))))
        _check_different([(pod.name, each.place) for pod, each in zip(spec.pods, _listed(pods), strict=True)], "pod")
        if collision := first_collision(spec):
            node, first, second = collision
            raise self._place_of(second).complaint(
                f"two containers would make a node named {node!r}: this one and the one at {self._place_of(first)}. "
                "Give one of them another name."
            )
        return spec

    def _pod(self, value: Value) -> PodSpec:
        table = as_table(value, "a pod", POD_KEYS)
        name = _named(required(table, "name", "a pod", value), "a pod's name", pod_name_problem)
        what = f"pod {name!r}"
        self._containers.append([])
        listed = required(table, "containers", what, value)
        containers = as_items(listed, f"containers of {what}", such="- name: main")
        return PodSpec(
            name,
            tuple(map(self._container, containers)),
            size=_size(table["size"]) if "size" in table else "small",
            public=as_statement(table["public"], "public") if "public" in table else False,
            clones=as_number(table["clones"], "clones", least=1, most=MAX_CLONES) if "clones" in table else None,
        )

    def _container(self, value: Value) -> ContainerSpec:
        table = as_table(value, "a container", CONTAINER_KEYS)
        name = _named(required(table, "name", "a container", value), "a container's name", container_name_problem)
        self._containers[-1].append(value.place)
        what = f"container {name!r}"
        image_value = required(table, "image", what, value)
        image = _named(image_value, "an image", _image_problem)
        self.images.setdefault(image, image_value.place)
        env, secrets = self._env(table["env"], what) if "env" in table else ((), ())
        return ContainerSpec(name, image, env, secrets)

    def _env(self, value: Value, what: str) -> tuple[tuple[tuple[str, str], ...], tuple[SecretVariable, ...]]:
        """Return environment variables, those with a value and those that are secrets."""
        plain, secrets = [], []
        for key, each in _variables(value, what):
            if isinstance(each, Table):
                self.secret = self.secret or each.place
                secrets.append(_secret(each, key.text))
                continue
            text = _variable(each, key.text)
            if self._secrets_elsewhere and (problem := secret_problem(key.text, text)):
                raise key.place.complaint(problem)
            plain.append((key.text, text))
        return tuple(plain), tuple(secrets)

    def _place_of(self, place: tuple[int, int]) -> Place:
        return self._containers[place[0]][place[1]]


def _variables(value: Value, what: str) -> Iterator[tuple[Text, Value]]:
    """Yield environment variables, from a list of mappings with one key each or from one mapping."""
    tables = value.items if isinstance(value, Items) else (value,)
    found: dict[str, Place] = {}
    for table in tables:
        if not isinstance(table, Table) or (isinstance(value, Items) and len(table.entries) != 1):
            raise table.place.complaint(
                f"env of {what} must be a mapping, or a list of mappings with one key each, such as '- KEY: value'"
            )
        for key, each in table.entries:
            if problem := variable_problem(key.text):
                raise key.place.complaint(problem)
            if key.text in found:
                raise key.place.complaint(f"environment variable {key.text} is here twice, first at {found[key.text]}")
            found[key.text] = key.place
            yield key, each


def _secret(value: Table, name: str) -> SecretVariable:
    what = f"environment variable {name}"
    table = as_table(value, what, ("secret", "key"))
    secret = as_text(required(table, "secret", what, value), f"secret of {what}")
    key = as_text(required(table, "key", what, value), f"key of {what}")
    if problem := reference_problem(secret, key):
        raise value.place.complaint(problem)
    return SecretVariable(name, secret, key)


def _variable(value: Value, name: str) -> str:
    """Return the text that a variable is set to: what is written there, be it a number, a time or ``no``."""
    if not isinstance(value, Text) or (value.plain and value.text in ("", "~", "null")):
        raise value.place.complaint(f'environment variable {name} must be set to a text; write "" for an empty one')
    if "\0" in value.text:
        raise value.place.complaint(f"environment variable {name} holds a zero byte, which no variable can")
    return value.text


def _size(value: Value) -> Size:
    text = as_text(value, "size")
    for size in get_args(Size):
        if text == size:
            return size  # type: ignore[no-any-return]  # get_args is untyped
    raise value.place.complaint(f"size must be small or big, got {text!r:.60}")


def _named(value: Value, what: str, problem_of: Callable[[str], str | None]) -> str:
    name = as_text(value, what)
    if problem := problem_of(name):
        raise value.place.complaint(problem)
    return name


def _image_problem(name: str) -> str | None:
    if _IMAGE.fullmatch(name) and ".." not in name:
        return None
    return (
        f"image {name!r:.100} is not the name of a folder below 'images': write 1 to 128 of A-Z a-z 0-9 . _ -, a "
        "letter or digit first and last. Images from elsewhere need a container engine."
    )


def _listed(value: Value) -> tuple[Value, ...]:
    return value.items if isinstance(value, Items) else ()


def _check_different(names: list[tuple[str, Place]], what: str) -> None:
    seen: dict[str, Place] = {}
    for name, place in names:
        if name in seen:
            raise place.complaint(f"{what} {name!r} is here twice, first at {seen[name]}")
        seen[name] = place
