"""A zone as a compose file: one service a node, confined, without secrets, in the order that one machine has."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from autonomy._deploy.compose import compose_file
from autonomy._deploy.manifests import Choices
from autonomy._deploy.zone_file import read_cluster_zone

from .manifest_zone import CERT_MANAGER, TICKETS, shop

NODES = {"main", *(f"{name}-{number}" for name in ("runner", "helper") for number in range(3))}
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
DURATION = {"type": "string", "pattern": "^[0-9]+s$"}
CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
SERVICE: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9][a-z0-9./_:-]*:[A-Za-z0-9._-]+$"},
        "build": {"type": "object", "properties": {"context": TEXT}, "additionalProperties": False},
        "user": TEXT,
        "command": TEXTS,
        "read_only": {"type": "boolean"},
        "init": {"type": "boolean"},
        "tmpfs": TEXTS,
        "cap_drop": TEXTS,
        "security_opt": TEXTS,
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-z0-9-]+:/[a-z/]+$"}},
        "secrets": TEXTS,
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^([0-9]+:)?[0-9]+$"}},
        "stop_grace_period": DURATION,
        "mem_limit": {"type": "string", "pattern": "^[0-9]+[MG]$"},
        "healthcheck": {
            "type": "object",
            "required": ["test"],
            "additionalProperties": False,
            "properties": {
                "test": TEXTS,
                "interval": DURATION,
                "timeout": DURATION,
                "start_period": DURATION,
                "retries": {"type": "integer"},
            },
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {"condition": {"enum": CONDITIONS}},
            },
        },
    },
}
COMPOSE = {
    "type": "object",
    "required": ["name", "services", "volumes"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}},
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": TEXT},
                "additionalProperties": False,
            },
        },
    },
}
"""The compose specification, as far as these files use it; every other key is refused."""


def made(*, etcd: bool = True, choices: Choices = TICKETS) -> dict[str, Any]:
    return compose_file(shop(), choices, etcd=etcd)


def problems(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a compose file."""
    found = [error.message for error in jsonschema.Draft202012Validator(COMPOSE).iter_errors(document)]
    if found:
        return found
    services, volumes = document["services"], set(document["volumes"])
    used = []
    for name, service in services.items():
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        used += mounted
        found += [f"{name} mounts {each}, which is not there" for each in mounted if each not in volumes]
        secrets = service.get("secrets", [])
        found += [f"{name} reads {each}, which is not there" for each in secrets if each not in document["secrets"]]
        told = service.get("environment", {}).get("ENROLLMENT_TICKET_FILE")
        if told is not None and told not in [f"/run/secrets/{each}" for each in secrets]:
            found.append(f"{name} finds no ticket")
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            if other not in services or (condition == "service_healthy" and "healthcheck" not in services[other]):
                found.append(f"{name} waits for {other}, which never comes")
        if service.get("cap_drop") != ["ALL"] or service.get("security_opt") != ["no-new-privileges:true"]:
            found.append(f"{name} has capabilities")
        if name != "etcd" and (service.get("read_only") is not True or service.get("user") != "10001:10001"):
            found.append(f"{name} is not confined")
        for value in [*service.get("command", []), *service.get("environment", {}).values()]:
            if re.search(r"(?<!\$)(\$\$)*\$(?![\${])", value):
                found.append(f"{name}: compose would fill in {value!r}")
    found += [f"nobody mounts {each}" for each in volumes - set(used)]
    return found


@pytest.mark.parametrize("etcd", [True, False])
def test_a_compose_file_is_one(etcd: bool) -> None:  # noqa: FBT001
    assert problems(made(etcd=etcd)) == []


@pytest.mark.parametrize(
    "path",
    [
        ("services", "main", "cap_drop"), ("services", "main", "security_opt"), ("services", "main", "read_only"),
        ("services", "main", "user"), ("services", "main", "image"), ("services", "authority", "healthcheck"),
        ("services", "make-ca"), ("services", "runner-1"), ("services", "runner-1", "healthcheck"), ("volumes", "main"),
        ("services", "main", "healthcheck", "test"), ("services", "runner-0", "volumes"), ("name",),
        ("services", "runner-0", "secrets"), ("secrets", "ticket"),
    ],
)  # fmt: skip
def test_what_is_missing_in_a_compose_file_is_found(path: tuple[str, ...]) -> None:
    document = made()
    at: Any = document
    for step in path[:-1]:
        at = at[step]

    del at[path[-1]]

    assert problems(document)


@pytest.mark.parametrize(
    ("key", "value"), [("environment", {"A": "$HOME"}), ("privileged", True), ("ports", ["x"]), ("restart", False)]
)
def test_what_is_wrong_in_a_compose_file_is_found(key: str, value: Any) -> None:
    document = made()

    document["services"]["main"][key] = value

    assert problems(document)


def test_each_node_is_a_service_of_its_name() -> None:
    services = made()["services"]

    assert services.keys() == NODES | {"authority", "make-ca", "etcd"}
    assert {services[name]["environment"]["NODE"] for name in NODES} == NODES
    assert all(services[name]["environment"]["AUTONOMY_ADDRESS"] == f"wss://{name}:4400" for name in NODES)


def test_each_node_is_told_its_pod_its_container_and_which_clone_it_is() -> None:
    services = made()["services"]

    def told(name: str) -> list[str | None]:
        return [services[name]["environment"].get(f"AUTONOMY_{each}") for each in ("POD", "CONTAINER", "INDEX")]

    assert told("main") == ["main-pod", "main", None]
    assert told("runner-2") == ["runner-pod", "runner", "2"]


def test_main_pod_starts_when_all_others_are_ready() -> None:
    depends_on = made()["services"]["main"]["depends_on"]

    assert depends_on.keys() == (NODES - {"main"}) | {"authority"}
    assert {each["condition"] for each in depends_on.values()} == {"service_healthy"}


def test_no_secret_is_in_a_compose_file() -> None:
    environment = made()["services"]["main"]["environment"]

    assert "ENROLLMENT_TICKET" not in environment
    assert environment["ENROLLMENT_TICKET_FILE"] == "/run/secrets/ticket"
    assert made()["secrets"] == {"ticket": {"file": "./secrets/ticket"}}
    assert environment["API_KEY"] == "${API_KEY:?set API_KEY in the environment or in .env}"


def test_what_a_zone_file_says_is_not_filled_in_by_compose() -> None:
    assert made()["services"]["main"]["environment"]["PRICE"] == "5 $$(each)"


@pytest.mark.parametrize(
    ("etcd", "directory", "told"),
    [
        (True, None, ["--directory", "etcd://etcd:2379"]),
        (False, "etcd://e:1", ["--directory", "etcd://e:1"]),
        (False, None, []),
    ],
)
def test_the_authority_is_told_where_the_directory_is(etcd: bool, directory: str | None, told: list[str]) -> None:  # noqa: FBT001
    document = made(etcd=etcd, choices=replace(TICKETS, directory=directory))

    assert document["services"]["make-ca"]["command"][10:] == told


@pytest.mark.parametrize(("clones", "port"), [("", "9000:9000"), ("clones: 2, ", "9000")])
def test_a_public_pod_answers_on_the_machine(clones: str, port: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "i").mkdir(parents=True)
    pod = f"{{name: p, public: true, {clones}containers: [{{name: c, image: i}}, {{name: d, image: i}}]}}"
    (tmp_path / "autonomy.yaml").write_text(f"name: z\npods: [{pod}]\n")

    services = compose_file(read_cluster_zone(tmp_path), replace(TICKETS, public_port=9000))["services"]

    first = "c-0" if clones else "c"
    assert services[first]["ports"] == [port]
    assert [name for name, each in services.items() if "ports" in each and not name.startswith("c")] == []


@pytest.mark.parametrize(
    ("choices", "etcd", "complaint"),
    [
        (CERT_MANAGER, False, "with compose nodes come by tickets"),
        (replace(TICKETS, directory="etcd://e:1"), True, "not both"),
        (replace(TICKETS, directory="dns://shop:4400"), False, "no name leads to all nodes"),
        (replace(TICKETS, directory_secret="s"), False, "are Kubernetes'"),
        (replace(TICKETS, ingress={"main-pod": "a.example"}), False, "are Kubernetes'"),
    ],
)
def test_what_compose_cannot_do_is_refused(choices: Choices, etcd: bool, complaint: str) -> None:  # noqa: FBT001
    with pytest.raises(ValueError, match=complaint):
        made(etcd=etcd, choices=choices)


@pytest.mark.parametrize("name", ["etcd", "make-ca", "authority"])
def test_a_container_that_has_a_name_of_the_files_own_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "i").mkdir(parents=True)
    (tmp_path / "autonomy.yaml").write_text(f"name: z\npods: [{{name: p, containers: [{{name: {name}, image: i}}]}}]\n")

    with pytest.raises(ValueError, match=f"a container cannot be called '{name}'"):
        compose_file(read_cluster_zone(tmp_path), TICKETS, etcd=True)
