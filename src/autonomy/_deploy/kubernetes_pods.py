"""Pods on Kubernetes: a StatefulSet for each pod of a zone, whose clones keep their names.

The rule of this file: a program runs as nobody, on a file system that it cannot write, with no rights in the cluster,
and is asked how it is where it tells the truth. See `manifests.py` for what is pure about it.
"""

from __future__ import annotations

from typing import Final

from .._sansio.spec import MAIN_POD, ContainerSpec, PodSpec, Size, ZoneSpec, short_name
from .manifests import (
    HEALTH_PORT,
    NODE_PORT,
    PRE_STOP,
    USER,
    Choices,
    Document,
    grace,
    image_of,
    nodes_of,
    replicas,
)

NODE_FILES: Final = "/etc/autonomy/nodes"
IDENTITY: Final = "/etc/autonomy/identity"
DIRECTORY: Final = "/etc/autonomy/directory"
TICKET: Final = "/etc/autonomy/ticket"
STATE: Final = "/var/lib/autonomy"
WAITING: Final = "autonomy._deploy.waiting"

# Requests are what the scheduler keeps free. CPU has no limit: a node that is throttled misses its heartbeats, and is
# taken for dead while it is only poor.
_RESOURCES: Final[dict[Size, Document]] = {
    "small": {
        "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
        "limits": {"memory": "512Mi", "ephemeral-storage": "512Mi"},
    },
    "big": {
        "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "256Mi"},
        "limits": {"memory": "4Gi", "ephemeral-storage": "4Gi"},
    },
}
_SCRATCH: Final[dict[Size, str]] = {"small": "256Mi", "big": "2Gi"}
_SMALLEST: Final = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"memory": "128Mi"},
}


def labels(spec: ZoneSpec, name: str) -> dict[str, str]:
    """Return the labels of what belongs to a pod of a zone."""
    return {"app.kubernetes.io/name": name, **zone_labels(spec)}


def zone_labels(spec: ZoneSpec) -> dict[str, str]:
    """Return the labels of what belongs to a zone."""
    return {"app.kubernetes.io/part-of": spec.name, "app.kubernetes.io/managed-by": "autonomy"}


def set_name(spec: ZoneSpec, name: str) -> str:
    """Return the name of a pod's StatefulSet and Service. With the zone in it, two zones may share a namespace."""
    return f"{spec.name}-{name}"


def identity_name(spec: ZoneSpec, short: str) -> str:
    """Return the name of a node's Certificate."""
    return f"{spec.name}-{short}"


def tls_secret(spec: ZoneSpec, short: str) -> str:
    """Return the name of the Secret with a node's credentials, which cert-manager makes."""
    return f"{identity_name(spec, short)}-tls"


def ticket_secret(spec: ZoneSpec) -> str:
    """Return the name of the Secret with the ticket that nodes come with, which whoever runs the zone makes."""
    return f"{spec.name}-ticket"


def port_name(what: str, number: int) -> str:
    """Return the name of a port of a container, unique in its pod."""
    return what if number == 0 else f"{what}-{number}"


def stateful_set(spec: ZoneSpec, pod: PodSpec, choices: Choices, digest: str) -> Document:
    """Return the StatefulSet of a pod.

    Args:
        spec: The zone.
        pod: One of its pods.
        choices: What the zone file leaves open.
        digest: Changes when the node files of this pod do, other than by its number of clones: then it is started anew.
    """
    name, own = set_name(spec, pod.name), labels(spec, pod.name)
    body: Document = {
        "serviceName": name,
        "replicas": replicas(pod),
        # Nodes wait for each other by themselves: nothing is gained by starting them one after another.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": own},
        "template": {
            "metadata": {"labels": own, "annotations": {"autonomy/node-files": digest}},
            "spec": _pod_spec(spec, pod, choices),
        },
    }
    if choices.identity == "tickets":
        body["volumeClaimTemplates"] = [claim("state", "64Mi")]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "labels": own}, "spec": body}


def claim(name: str, size: str) -> Document:
    """Return a claim of storage for each clone of its own."""
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def as_nobody() -> Document:
    """Return what pods are that need nothing of their machine; the profile `restricted` of Kubernetes takes them.

    OnRootMismatch: otherwise each start would open files that nodes have closed to their group.
    """
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def confined() -> Document:
    """Return what each container is kept from."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


# ---- within


def _pod_spec(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> Document:
    body = as_nobody() | {"terminationGracePeriodSeconds": grace(pod)}
    if replicas(pod) > 1:
        body["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(spec, pod.name)},
            }
        ]
    others = [each for each in spec.pods if each.name != MAIN_POD]
    if pod.name == MAIN_POD and others and choices.wait:
        body["initContainers"] = [_waiting(spec, pod, others, choices)]
    body["containers"] = [_container(spec, pod, number, choices) for number in range(len(pod.containers))]
    body["volumes"] = _volumes(spec, pod, choices)
    return body


def _waiting(spec: ZoneSpec, pod: PodSpec, others: list[PodSpec], choices: Choices) -> Document:
    """Return what runs before ``main-pod``, until all others are ready, as on one machine."""
    wanted = []
    for each in others:
        name, last = set_name(spec, each.name), len(each.containers) - 1
        wanted.append(f"{name}:{replicas(each)}:{HEALTH_PORT}-{HEALTH_PORT + last}")
    return {
        "name": "wait-for-others",
        "image": image_of(pod.containers[0], choices),
        "command": ["python", "-m", WAITING, str(choices.wait), *wanted],
        "resources": _SMALLEST,
        "securityContext": confined(),
    }


def _container(spec: ZoneSpec, pod: PodSpec, number: int, choices: Choices) -> Document:
    container = pod.containers[number]
    ports = [
        {"name": port_name("node", number), "containerPort": NODE_PORT + number},
        {"name": port_name("health", number), "containerPort": HEALTH_PORT + number},
    ]
    if pod.public and number == 0:
        ports.append({"name": "http", "containerPort": choices.public_port})
    body = {
        "name": container.name,
        "image": image_of(container, choices),
        "env": _environment(spec, pod, number, choices),
        "ports": ports,
        **_probes(port_name("health", number)),
        "resources": _RESOURCES[pod.size],
        "securityContext": confined(),
        "volumeMounts": _mounts(number, choices),
    }
    if pod.public:
        # The pod leaves the Service when its end begins, and clients learn that a little later.
        body["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP)]}}}
    return body


def _probes(port: str) -> Document:
    """Return what asks a node how it is.

    A handler that holds its node answers nobody. It is given a minute: ending the program would lose what is queued.
    """
    ready, live = ({"httpGet": {"path": path, "port": port}} for path in ("/ready", "/live"))
    return {
        "startupProbe": {**live, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1},
    }


def _environment(spec: ZoneSpec, pod: PodSpec, number: int, choices: Choices) -> list[Document]:
    """Return a container's variables; those that others name come first."""
    container = pod.containers[number]
    found = [_from_field("POD_NAME", "metadata.name"), _from_field("POD_IP", "status.podIP")]
    # In brackets whatever its kind: nodes take both, and only one of them could do without.
    place = f"wss://[$(POD_IP)]:{NODE_PORT + number}"
    if choices.identity == "tickets":
        found += _for_tickets(spec, pod, container)
    else:
        found.append(_variable("AUTONOMY_NODE_FILE", f"{NODE_FILES}/$(POD_NAME).{container.name}.json"))
    found += [
        _variable("AUTONOMY_LISTEN", place),
        _variable("AUTONOMY_ADDRESS", place),
        _variable("AUTONOMY_HEALTH", f"[$(POD_IP)]:{HEALTH_PORT + number}"),
    ]
    # Kubernetes fills in $(NAME); what a zone file says is to stay as it is.
    found += [_variable(name, value.replace("$(", "$$(")) for name, value in container.env]
    found += [_from_secret(each.variable, each.secret, each.key) for each in container.secrets]
    return found


def _for_tickets(spec: ZoneSpec, pod: PodSpec, container: ContainerSpec) -> list[Document]:
    """Return what lets a node come to its zone by itself: its name, a place to keep things, a ticket at first."""
    found = []
    name, place = container.name, [_variable("AUTONOMY_POD", pod.name), _variable("AUTONOMY_CONTAINER", container.name)]
    if pod.clones is not None:
        # The label is Kubernetes 1.28's.
        found.append(_from_field("POD_INDEX", "metadata.labels['apps.kubernetes.io/pod-index']"))
        name += "-$(POD_INDEX)"
        place.append(_variable("AUTONOMY_INDEX", "$(POD_INDEX)"))
    return [
        *found,
        _variable("ZONE", spec.name),
        _variable("NODE", name),
        _variable("AUTONOMY_HOME", f"{STATE}/home"),
        # A file, for a variable is in /proc for all processes of the pod, and in those that a program starts.
        _variable("ENROLLMENT_TICKET_FILE", f"{TICKET}/ticket"),
        *place,
    ]


def _variable(name: str, value: str) -> Document:
    return {"name": name, "value": value}


def _from_field(name: str, path: str) -> Document:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _from_secret(name: str, secret: str, key: str) -> Document:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _mounts(number: int, choices: Choices) -> list[Document]:
    found: list[Document] = [{"name": "scratch", "mountPath": "/tmp"}]
    if choices.identity == "tickets":
        found.append({"name": "state", "mountPath": STATE})
        found.append({"name": "ticket", "mountPath": TICKET, "readOnly": True})
    else:
        found.append({"name": "nodes", "mountPath": NODE_FILES, "readOnly": True})
        found.append({"name": f"identity-{number}", "mountPath": IDENTITY, "readOnly": True})
    if choices.directory_secret is not None:
        found.append({"name": "directory", "mountPath": DIRECTORY, "readOnly": True})
    return found


def _volumes(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> list[Document]:
    found: list[Document] = [{"name": "scratch", "emptyDir": {"sizeLimit": _SCRATCH[pod.size]}}]
    if choices.identity == "cert-manager":
        found.append({"name": "nodes", "configMap": {"name": set_name(spec, pod.name)}})
        found += [_identities(spec, pod, number) for number in range(len(pod.containers))]
    if choices.identity == "tickets":
        # Whoever was here before needs none, so the Secret may go when all have come.
        secret = {"secretName": ticket_secret(spec), "defaultMode": 0o440, "optional": True}
        found.append({"name": "ticket", "secret": secret})
    if choices.directory_secret is not None:
        secret = {"secretName": choices.directory_secret, "defaultMode": 0o440}
        found.append({"name": "directory", "secret": secret})
    return found


def _identities(spec: ZoneSpec, pod: PodSpec, number: int) -> Document:
    """Return the volume with the credentials of one container, a folder for each clone.

    There is one template for all clones, so each of them sees the keys of its siblings: one program, one set of rights.
    """
    wanted = pod.containers[number]
    sources: list[Document] = []
    for container, index in nodes_of(pod):
        if container is wanted:
            short = short_name(container.name, index)
            items = [{"key": key, "path": f"{short}/{key}"} for key in ("tls.crt", "tls.key", "ca.crt")]
            sources.append({"secret": {"name": tls_secret(spec, short), "items": items}})
    return {"name": f"identity-{number}", "projected": {"defaultMode": 0o440, "sources": sources}}
