"""A zone as a compose file: one service for each node, on a machine with a container engine. Pure; see `manifests.py`.

One service a node, not one with replicas: replicas are numbered by the engine, from 1 and behind a name of its own, and
a node's name must be what its certificate says. Nodes come to the zone with a ticket, which the operator puts into a
file beside this one; the values of secret variables are in his environment. Neither is in the compose file.
"""

from __future__ import annotations

from typing import Final

from .._sansio.spec import MAIN_POD, ContainerSpec, PodSpec, Size, ZoneSpec, short_name
from .manifests import (
    AUTHORITY,
    DRAIN,
    ENROLL_PORT,
    HEALTH_PORT,
    HTTP_GRACE,
    MARGIN,
    NODE_PORT,
    USER,
    Choices,
    Document,
    check_spec,
    dns_place,
    image_of,
    nodes_of,
)

ETCD_IMAGE: Final = "quay.io/coreos/etcd:v3.5.17"
TICKET: Final = "ticket"
"""What the secret is called that nodes come with, and its file in the folder ``secrets`` beside the compose file."""
_STATE: Final = "/var/lib/autonomy"
_MEMORY: Final[dict[Size, str]] = {"small": "512M", "big": "4G"}
_ASK: Final = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/{path}', timeout=2)"


def compose_file(spec: ZoneSpec, choices: Choices, *, etcd: bool = False) -> Document:
    """Return a zone as a compose file.

    Args:
        spec: The zone.
        choices: What its file leaves open. Identities are by tickets here.
        etcd: Whether the file has an etcd of one member too, as the zone's directory.

    Raises:
        ValueError: The zone, or what was chosen for it, cannot be there; the text says what would be right.
    """
    if choices.identity != "tickets":
        raise ValueError("with compose nodes come by tickets: there is no cert-manager")
    if etcd and choices.directory is not None:
        raise ValueError("either the compose file has an etcd, or the directory is elsewhere: not both")
    if dns_place(choices) is not None:
        raise ValueError("with compose no name leads to all nodes: leave --directory out, or write --with-etcd")
    if choices.directory_secret is not None or choices.ingress:
        raise ValueError("Secrets for the directory and ingress hosts are Kubernetes': with compose, leave them out")
    check_spec(spec, choices)
    services, volumes = _authority(spec, choices, etcd=etcd), [AUTHORITY]
    if etcd:
        services["etcd"] = _etcd()
        volumes.append("etcd")
    for pod in spec.pods:
        for container, index in nodes_of(pod):
            name = short_name(container.name, index)
            if name in services:
                raise ValueError(
                    f"a container cannot be called {name!r} with compose: the file has a service of that name"
                )
            services[name] = _node(spec, pod, container, index, choices)
            volumes.append(name)
    return {
        "name": spec.name,
        "services": services,
        "volumes": {name: {} for name in volumes},
        "secrets": {TICKET: {"file": f"./secrets/{TICKET}"}},
    }


# ---- within


def _confined() -> Document:
    return {
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp:mode=1777,size=256m"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
    }


def _node(spec: ZoneSpec, pod: PodSpec, container: ContainerSpec, index: int | None, choices: Choices) -> Document:
    name = short_name(container.name, index)
    body = {
        "image": image_of(container, choices),
        "build": {"context": f"./images/{container.image}"},
        **_confined(),
        "environment": _environment(spec, pod, container, index),
        "volumes": [f"{name}:{_STATE}"],
        "secrets": [TICKET],
        "stop_grace_period": f"{DRAIN + MARGIN + (HTTP_GRACE if pod.public else 0)}s",
        "healthcheck": _healthcheck(_ASK.format(port=HEALTH_PORT, path="ready")),
        "mem_limit": _MEMORY[pod.size],
        "depends_on": _depends_on(spec, pod),
    }
    if pod.public and container is pod.containers[0]:
        port = choices.public_port
        # Two clones cannot have one port of the machine: the engine finds one for each.
        body["ports"] = [f"{port}:{port}" if pod.clones is None else f"{port}"]
    return body


def _environment(spec: ZoneSpec, pod: PodSpec, container: ContainerSpec, index: int | None) -> dict[str, str]:
    name = short_name(container.name, index)
    found = {
        "ZONE": spec.name,
        "NODE": name,
        # Once a node has come, it needs none: it finds what it was given by zone and name. The file may be empty then.
        "ENROLLMENT_TICKET_FILE": f"/run/secrets/{TICKET}",
        "AUTONOMY_POD": pod.name,
        "AUTONOMY_CONTAINER": container.name,
        **({} if index is None else {"AUTONOMY_INDEX": f"{index}"}),
        "AUTONOMY_HOME": f"{_STATE}/home",
        "AUTONOMY_LISTEN": f"wss://0.0.0.0:{NODE_PORT}",
        "AUTONOMY_ADDRESS": f"wss://{name}:{NODE_PORT}",
        "AUTONOMY_HEALTH": f"0.0.0.0:{HEALTH_PORT}",
    }
    found |= {key: value.replace("$", "$$") for key, value in container.env}
    return found | {each.variable: _from_outside(each.variable) for each in container.secrets}


def _from_outside(variable: str) -> str:
    return f"${{{variable}:?set {variable} in the environment or in .env}}"


def _depends_on(spec: ZoneSpec, pod: PodSpec) -> Document:
    """Return what must be well before a node starts: the authority, and before ``main-pod`` all others."""
    wanted = [AUTHORITY]
    if pod.name == MAIN_POD:
        others = (each for each in spec.pods if each.name != MAIN_POD)
        wanted += [short_name(container.name, index) for each in others for container, index in nodes_of(each)]
    return {name: {"condition": "service_healthy"} for name in wanted}


def _healthcheck(program: str) -> Document:
    return {
        "test": ["CMD", "python", "-c", program],
        "interval": "5s",
        "timeout": "3s",
        "retries": 3,
        "start_period": "60s",
    }


def _authority(spec: ZoneSpec, choices: Choices, *, etcd: bool) -> Document:
    """Return the zone's authority, and what makes its CA at the first time."""
    directory = "etcd://etcd:2379" if etcd else choices.directory
    make = ["autonomy", "zone", "init", spec.name, "--cluster", choices.cluster]
    make += ["--directory", directory] if directory is not None else []
    run = ["autonomy", "zone", "authority", spec.name]
    run += ["--listen", f"0.0.0.0:{NODE_PORT}", "--address", f"{AUTHORITY}:{NODE_PORT}"]
    run += ["--enroll-listen", f"0.0.0.0:{ENROLL_PORT}", "--enroll-address", f"{AUTHORITY}:{ENROLL_PORT}"]
    common = {
        "image": choices.authority_image,
        **_confined(),
        "environment": {"AUTONOMY_HOME": f"{_STATE}/home"},
        "volumes": [f"{AUTHORITY}:{_STATE}"],
        "mem_limit": "512M",
    }
    # $$ is compose's $. The words after the question are words, whatever is in them.
    question = f'test -e "$$AUTONOMY_HOME/authorities/{spec.name}/settings.json" || exec "$$@"'
    connects = f"import socket; socket.create_connection(('127.0.0.1', {ENROLL_PORT}), 2)"
    depends_on: Document = {"make-ca": {"condition": "service_completed_successfully"}}
    if etcd:
        depends_on["etcd"] = {"condition": "service_healthy"}
    return {
        "make-ca": {**common, "restart": "no", "command": ["sh", "-c", question, "sh", *make]},
        AUTHORITY: {
            **common,
            "command": run,
            "stop_grace_period": f"{DRAIN + MARGIN}s",
            "healthcheck": _healthcheck(connects),
            "depends_on": depends_on,
        },
    }


def _etcd() -> Document:
    flags = ["--name=etcd", "--data-dir=/var/lib/etcd"]
    flags += ["--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://etcd:2379"]
    return {
        "image": ETCD_IMAGE,
        "command": ["etcd", *flags],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "volumes": ["etcd:/var/lib/etcd"],
        "healthcheck": {
            "test": ["CMD", "etcdctl", "endpoint", "health"],
            "interval": "5s",
            "timeout": "3s",
            "retries": 3,
            "start_period": "30s",
        },
    }
