"""Who a node is on Kubernetes: certificates by cert-manager, or the zone's own authority as one more pod.

The rule of this file: the zone's CA and its tickets are Secrets that whoever runs the zone makes. They are named here,
and never held. Certificates of cert-manager last for an hour: it makes no lists of what was revoked, so their life must
be short (`autonomy.identity.TrustStore`, ``revocation="lifetime"``).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from .._sansio.node_file import NodeFile
from .._sansio.spec import PodSpec, ZoneSpec, short_name
from .._sansio.spiffe import node_uri
from .kubernetes_pods import (
    IDENTITY,
    STATE,
    as_nobody,
    claim,
    confined,
    identity_name,
    labels,
    set_name,
    tls_secret,
    zone_labels,
)
from .manifests import AUTHORITY, DRAIN, ENROLL_PORT, MARGIN, NODE_PORT, Choices, Document, full_name, nodes_of

_CERT_MANAGER: Final = "cert-manager.io/v1"


def ca_secret(spec: ZoneSpec) -> str:
    """Return the name of the Secret with the zone's CA, which whoever runs the zone makes."""
    return f"{spec.name}-ca"


def issuer(spec: ZoneSpec) -> Document:
    """Return what signs for the zone, by the CA in a Secret."""
    return {
        "apiVersion": _CERT_MANAGER,
        "kind": "Issuer",
        "metadata": {"name": spec.name, "labels": zone_labels(spec)},
        "spec": {"ca": {"secretName": ca_secret(spec)}},
    }


def certificates(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> list[Document]:
    """Return one Certificate for each node of a pod."""
    names = [short_name(container.name, index) for container, index in nodes_of(pod)]
    return [_certificate(spec, pod, short, choices) for short in names]


def _certificate(spec: ZoneSpec, pod: PodSpec, short: str, choices: Choices) -> Document:
    return {
        "apiVersion": _CERT_MANAGER,
        "kind": "Certificate",
        "metadata": {"name": identity_name(spec, short), "labels": labels(spec, pod.name)},
        "spec": {
            "secretName": tls_secret(spec, short),
            # The one name that counts, and no other: see identity/profile.py, which also wants these usages alone.
            "uris": [node_uri(spec.name, full_name(spec, choices, short))],
            "usages": ["digital signature", "server auth", "client auth"],
            "duration": "1h",
            "renewBefore": "20m",
            # PKCS8 says what kind of key it is. A new key each time: an old one is worth nothing to whoever has it.
            "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "revisionHistoryLimit": 1,
            "issuerRef": {"name": spec.name, "kind": "Issuer", "group": "cert-manager.io"},
        },
    }


def node_files(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> Document:
    """Return the ConfigMap that tells each node of a pod who it is: a file for each, named for pod and container."""
    data = {}
    for container, index in nodes_of(pod):
        file = _node_file(spec, pod, container.name, index, choices)
        key = f"{set_name(spec, pod.name)}-{index or 0}.{container.name}.json"
        data[key] = msgspec.json.format(msgspec.json.encode(file), indent=2).decode() + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": set_name(spec, pod.name), "labels": labels(spec, pod.name)},
        "data": data,
    }


def _node_file(spec: ZoneSpec, pod: PodSpec, container: str, index: int | None, choices: Choices) -> NodeFile:
    short = short_name(container, index)
    assert choices.directory is not None, "check_spec has looked"
    return NodeFile(
        name=full_name(spec, choices, short),
        zone=spec.name,
        cluster=choices.cluster,
        credentials=f"{IDENTITY}/{short}",
        directory=choices.directory,
        pod=pod.name,
        container=container,
        index=index,
        rights=choices.rights,
        code=choices.code,
        revocation="lifetime",
    )


def digest_of(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> str:
    """Return a text that changes when the node files of a pod do, however many clones there are."""
    if choices.identity == "tickets":
        return "none"
    index = None if pod.clones is None else 0
    files = [_node_file(spec, pod, container.name, index, choices) for container in pod.containers]
    return hashlib.sha256(msgspec.json.encode(files)).hexdigest()[:16]


def authority(spec: ZoneSpec, choices: Choices) -> Document:
    """Return the zone's own authority: one pod that keeps the CA, on storage of its own, and takes tickets."""
    name, own = set_name(spec, AUTHORITY), labels(spec, AUTHORITY)
    home = [{"name": "AUTONOMY_HOME", "value": f"{STATE}/home"}]
    mounts = [{"name": "state", "mountPath": STATE}, {"name": "scratch", "mountPath": "/tmp"}]
    common = {
        "image": choices.authority_image,
        "env": home,
        "securityContext": confined(),
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    make = ["autonomy", "zone", "init", spec.name, "--cluster", choices.cluster]
    make += ["--directory", choices.directory] if choices.directory is not None else []
    # A shell, for one question: is it there? The words after it are words, whatever is in them.
    once = ["sh", "-c", f'test -e "$AUTONOMY_HOME/authorities/{spec.name}/settings.json" || exec "$@"', "sh", *make]
    run = ["autonomy", "zone", "authority", spec.name]
    run += ["--listen", f"0.0.0.0:{NODE_PORT}", "--address", f"{name}:{NODE_PORT}"]
    run += ["--enroll-listen", f"0.0.0.0:{ENROLL_PORT}", "--enroll-address", f"{name}:{ENROLL_PORT}"]
    enrolls = {"tcpSocket": {"port": "enroll"}, "timeoutSeconds": 5}
    body = as_nobody() | {
        "terminationGracePeriodSeconds": DRAIN + MARGIN,
        "initContainers": [{"name": "make-ca", **common, "command": once}],
        "containers": [
            {
                "name": AUTHORITY,
                **common,
                "command": run,
                "ports": [
                    {"name": "node", "containerPort": NODE_PORT},
                    {"name": "enroll", "containerPort": ENROLL_PORT},
                ],
                "readinessProbe": {**enrolls, "periodSeconds": 2},
                "livenessProbe": {**enrolls, "periodSeconds": 10, "failureThreshold": 6},
            }
        ],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    if choices.directory_secret is not None:
        _mount_directory(body, choices.directory_secret)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": own},
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": own}, "spec": body},
            "volumeClaimTemplates": [claim("state", "1Gi")],
        },
    }


def _mount_directory(body: Document, secret: str) -> None:
    body["volumes"].append({"name": "directory", "secret": {"secretName": secret, "defaultMode": 0o440}})
    for container in (*body["initContainers"], *body["containers"]):
        mount = {"name": "directory", "mountPath": "/etc/autonomy/directory", "readOnly": True}
        container["volumeMounts"] = [*container["volumeMounts"], mount]
