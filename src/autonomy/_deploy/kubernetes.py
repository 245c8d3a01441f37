"""A zone as objects for Kubernetes: which there are, in which files, and what is refused. Pure; see `manifests.py`.

Next: `kubernetes_pods.py` for what runs, `kubernetes_identity.py` for who is who, `kubernetes_network.py` for who
reaches whom.
"""

from __future__ import annotations

from typing import Final

from .._sansio.spec import PodSpec, ZoneSpec
from . import kubernetes_identity as identity
from . import kubernetes_network as network
from .kubernetes_pods import set_name, stateful_set
from .manifests import NODE_PORT, Choices, Document, check_spec, dns_place

_LONGEST_SET: Final = 52
"""Kubernetes puts a hash of eleven characters behind the name of a StatefulSet, into a label of 63."""
_LARGEST_CONFIG_MAP: Final = 1_000_000


def kubernetes_files(spec: ZoneSpec, choices: Choices) -> dict[str, list[Document]]:
    """Return a zone as objects for Kubernetes, by the name of the file that each belongs to.

    Raises:
        ValueError: The zone, or what was chosen for it, cannot be there; the text says what would be right.
    """
    check_spec(spec, choices)
    _check_dns(spec, choices)
    for pod in spec.pods:
        _check_pod(spec, pod, choices)
    files = {"zone.yaml": _zone(spec, choices)}
    for pod in spec.pods:
        files[f"pod-{pod.name}.yaml"] = _pod(spec, pod, choices)
    documents = [document for each in files.values() for document in each]
    _check_different(documents)
    if choices.namespace is not None:
        for document in documents:
            metadata = document["metadata"]
            document["metadata"] = {"name": metadata["name"], "namespace": choices.namespace, **metadata}
    return files


def kustomization(files: dict[str, list[Document]]) -> Document:
    """Return what ``kubectl apply -k`` reads first."""
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(files)}


def needed_secrets(spec: ZoneSpec, choices: Choices) -> list[str]:
    """Return the Secrets that whoever runs the zone makes, each with what is in it, for people."""
    found = []
    if choices.identity == "cert-manager":
        found.append(f"{identity.ca_secret(spec)}: tls.crt and tls.key, the zone's CA")
    else:
        found.append(f"{spec.name}-ticket: ticket, while nodes come for the first time")
    if choices.directory_secret is not None:
        found.append(f"{choices.directory_secret}: the files that the directory's URL names")
    wanted: dict[str, set[str]] = {}
    for pod in spec.pods:
        for container in pod.containers:
            for each in container.secrets:
                wanted.setdefault(each.secret, set()).add(each.key)
    return found + [f"{name}: {', '.join(sorted(keys))}" for name, keys in sorted(wanted.items())]


# ---- within


def _zone(spec: ZoneSpec, choices: Choices) -> list[Document]:
    """Return what is there once."""
    always = [network.zone_policy(spec, choices)]
    if dns_place(choices) is not None:
        always.append(network.zone_service(spec))
    if choices.identity == "cert-manager":
        return [identity.issuer(spec), *always]
    return [network.authority_service(spec), identity.authority(spec, choices), *always]


def _pod(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> list[Document]:
    """Return what belongs to one pod."""
    found = []
    if choices.identity == "cert-manager":
        found += identity.certificates(spec, pod, choices)
        found.append(identity.node_files(spec, pod, choices))
    found.append(network.headless_service(spec, pod))
    found.append(stateful_set(spec, pod, choices, identity.digest_of(spec, pod, choices)))
    budget = network.disruption_budget(spec, pod)
    found += [] if budget is None else [budget]
    if pod.public:
        found += [network.public_service(spec, pod), network.public_policy(spec, pod, choices)]
    if pod.name in choices.ingress:
        found.append(network.ingress(spec, pod, choices.ingress[pod.name]))
    return found


def _check_dns(spec: ZoneSpec, choices: Choices) -> None:
    """Check that DNS can lead to all nodes, if that is wanted: to addresses of pods, and one port on all of them."""
    place = dns_place(choices)
    if place is None:
        return
    service, _, rest = place.name.partition(".")
    namespace = rest.partition(".")[0]
    if (
        service != spec.name
        or place.port != NODE_PORT
        or (choices.namespace and namespace not in ("", choices.namespace))
    ):
        there = choices.namespace or namespace or "NAMESPACE"
        raise ValueError(
            f"the Service that leads to all nodes of the zone is dns://{spec.name}.{there}.svc:{NODE_PORT} here, got "
            f"{choices.directory!r:.160}"
        )
    if choices.directory_secret is not None:
        raise ValueError("DNS takes no Secret: leave --directory-secret out")
    for pod in spec.pods:
        if len(pod.containers) > 1:
            raise ValueError(
                f"pod {pod.name!r} has {len(pod.containers)} containers, which listen on a port each, and DNS leads to "
                "one: give each container a pod of its own, or name an etcd by --directory"
            )


def _check_pod(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> None:
    name = set_name(spec, pod.name)
    if len(name) > _LONGEST_SET:
        raise ValueError(
            f"pod {pod.name!r} would be {name!r} on Kubernetes, {len(name)} characters, and at most {_LONGEST_SET} can "
            "be: give it a shorter name"
        )
    if choices.identity == "cert-manager":
        size = sum(map(len, identity.node_files(spec, pod, choices)["data"].values()))
        if size > _LARGEST_CONFIG_MAP:
            raise ValueError(
                f"the node files of pod {pod.name!r} have {size:,} bytes, and a ConfigMap holds about a million: "
                "make two pods of it, or use --identity tickets"
            )


def _check_different(documents: list[Document]) -> None:
    seen = set()
    for document in documents:
        name = document["kind"], document["metadata"]["name"]
        if name in seen:
            raise ValueError(f"two things would be the {name[0]} {name[1]!r} on Kubernetes: give a pod another name")
        seen.add(name)
