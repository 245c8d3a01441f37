"""Who reaches whom on Kubernetes: Services, policies of the network, ways in from outside, and how many may be missing.

The rule of this file: what is not said to be needed is not possible. TLS would refuse strangers anyway; they need not
get as far.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from .._sansio.spec import PodSpec, ZoneSpec
from .kubernetes_pods import labels, set_name, zone_labels
from .manifests import AUTHORITY, ENROLL_PORT, HEALTH_PORT, NODE_PORT, Choices, Document, etcd_endpoints, replicas

_IN_NAMESPACE = re.compile(r"[^.]+\.([a-z0-9-]+)\.svc(\..+)?")
_DNS: Final = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]


def headless_service(spec: ZoneSpec, pod: PodSpec) -> Document:
    """Return the Service that gives each clone of a pod a name in DNS, ready or not.

    It is how ``main-pod`` waits for others.
    """
    ports = [("node", NODE_PORT), ("health", HEALTH_PORT)]
    return _service(
        set_name(spec, pod.name),
        labels(spec, pod.name),
        {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports],
        },
    )


def zone_service(spec: ZoneSpec) -> Document:
    """Return the Service whose name leads to all nodes of a zone, ready or not, where they find each other by DNS."""
    return _service(
        spec.name,
        zone_labels(spec),
        {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "ports": [{"name": "node", "port": NODE_PORT, "targetPort": "node"}],
        },
    )


def public_service(spec: ZoneSpec, pod: PodSpec) -> Document:
    """Return the Service that leads to those clones of a public pod that are ready."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return _service(_public(spec, pod), labels(spec, pod.name), {"type": "ClusterIP", "ports": ports})


def ingress(spec: ZoneSpec, pod: PodSpec, host: str) -> Document:
    """Return the way from outside to a public pod, by a host's name."""
    backend = {"service": {"name": _public(spec, pod), "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": _public(spec, pod), "labels": labels(spec, pod.name)},
        "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def disruption_budget(spec: ZoneSpec, pod: PodSpec) -> Document | None:
    """Return how many clones of a pod may be missing while machines are emptied: one.

    None for a pod of which there is one: a budget would either keep its machine from being emptied, or say nothing.
    """
    if replicas(pod) < 2:
        return None
    own = labels(spec, pod.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": set_name(spec, pod.name), "labels": own},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": own},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def zone_policy(spec: ZoneSpec, choices: Choices) -> Document:
    """Return who may reach the pods of a zone, and whom they may reach: each other, etcd and DNS.

    A program that calls anything else needs a policy of its own beside this one: they add up.
    """
    all_of_it = {"podSelector": {"matchLabels": zone_labels(spec)}}
    most = max(len(pod.containers) for pod in spec.pods) - 1
    within = [_ports(NODE_PORT, most), _ports(HEALTH_PORT, most)]
    if choices.identity == "tickets":
        within.append({"protocol": "TCP", "port": ENROLL_PORT})
    # DNS wherever it is: some clusters answer on the machine itself, which no selector finds.
    egress = [{"to": [all_of_it], "ports": within}, {"ports": _DNS}, *_to_etcd(choices)]
    ingress = [{"from": [all_of_it], "ports": within}]
    return _policy(spec.name, zone_labels(spec), {"ingress": ingress, "egress": egress})


def public_policy(spec: ZoneSpec, pod: PodSpec, choices: Choices) -> Document:
    """Return that everybody may reach a public pod, on its public port alone."""
    ports = [{"protocol": "TCP", "port": choices.public_port}]
    return _policy(_public(spec, pod), labels(spec, pod.name), {"ingress": [{"ports": ports}]})


def authority_service(spec: ZoneSpec) -> Document:
    """Return the Service by which nodes find the zone's authority, whose name outlives its address."""
    ports = [("node", NODE_PORT), ("enroll", ENROLL_PORT)]
    return _service(
        set_name(spec, AUTHORITY),
        labels(spec, AUTHORITY),
        {
            "type": "ClusterIP",
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports],
        },
    )


# ---- within


def _public(spec: ZoneSpec, pod: PodSpec) -> str:
    return f"{set_name(spec, pod.name)}-public"


def _service(name: str, own: dict[str, str], body: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": own},
        "spec": {**body, "selector": own},
    }


def _policy(name: str, selected: dict[str, str], rules: Document) -> Document:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": selected},
        "spec": {
            "podSelector": {"matchLabels": selected},
            "policyTypes": [each.capitalize() for each in rules],
            **rules,
        },
    }


def _ports(first: int, more: int) -> Document:
    found: Document = {"protocol": "TCP", "port": first}
    return found | {"endPort": first + more} if more else found


def _to_etcd(choices: Choices) -> list[Document]:
    """Return where etcd may be reached: at its address or in its namespace, where its URL says as much."""
    found = []
    for host, port in etcd_endpoints(choices.directory) if choices.directory else []:
        ports = [{"protocol": "TCP", "port": port}]
        rule: Document = {"ports": ports}
        if (to := _place(host)) is not None:
            rule = {"to": [to], "ports": ports}
        if rule not in found:
            found.append(rule)
    return found


def _place(host: str) -> Document | None:
    """Return what a policy can say of a host: policies know addresses and pods, and no names."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        named = _IN_NAMESPACE.fullmatch(host)
        if named is None:
            return None
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": named[1]}}}
    return {"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}
