"""The checks of manifests, checked: each mistake that somebody could make in them is found."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest

from .kubernetes_checks import Document, problems
from .manifest_zone import CERT_MANAGER, GIVEN, TICKETS, made, shop

pytestmark = pytest.mark.slow
GONE = object()
CERTIFICATES, WITH_TICKETS = made(shop(), CERT_MANAGER), made(shop(), TICKETS)
LATEST = "1.37"
OPEN = {"app.kubernetes.io/part-of": "other"}
Path = tuple[str | int, ...]
POD: Path = ("spec", "template", "spec")
FIRST: Path = (*POD, "containers", 0)


def broken(documents: list[Document], kind: str, name: str, path: Path, value: Any) -> list[Document]:
    """Return a copy of documents with one value changed, or gone."""
    found = copy.deepcopy(documents)
    at: Any = next(each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))
    for step in path[:-1]:
        at = at[step]
    if value is GONE:
        del at[path[-1]]
    else:
        assert at.get(path[-1]) != value if isinstance(at, dict) else at[path[-1]] != value, "this changes nothing"
        at[path[-1]] = value(at[path[-1]]) if callable(value) else value
    return found


def complaints(documents: list[Document]) -> list[str]:
    """Return what the schemas and the checks say."""
    kubernetes = (each for each in documents if not each["apiVersion"].startswith("cert-manager.io/"))
    found = [complaint for each in kubernetes if (complaint := by_schema(json.dumps(each)))]
    return found or problems(documents, GIVEN)


@cache
def by_schema(document: str) -> str:
    """Return what the schema says of one object, nothing if it is content."""
    try:
        kubernetes_validate.validate(json.loads(document), LATEST, strict=True)
    except jsonschema.ValidationError as error:
        return str(error.message)
    return ""


Break = tuple[str, str, Path, Any]
MAIN, RUNNERS = "shop-main-pod", "shop-runner-pod"
BREAKS: list[Break] = [
    # types, unknown fields, missing fields
    ("StatefulSet", MAIN, ("spec", "replicas"), "1"),
    ("StatefulSet", MAIN, ("spec", "replica"), 1),
    ("StatefulSet", MAIN, ("spec", "serviceName"), 7),
    ("StatefulSet", MAIN, (*FIRST, "ports", 0, "containerPort"), "4400"),
    ("StatefulSet", MAIN, (*FIRST, "image"), ["a"]),
    ("StatefulSet", MAIN, (*FIRST, "readinessProbe", "httpGet", "prot"), 1),
    ("Service", MAIN, ("spec", "ports", 0, "port"), GONE),
    ("NetworkPolicy", "shop", ("spec", "policyTypes", 0), 1),
    ("PodDisruptionBudget", RUNNERS, ("spec", "maxUnavailable"), []),
    ("Ingress", f"{MAIN}-public", ("spec", "rules", 0, "http", "paths", 0, "pathType"), GONE),
    ("Issuer", "shop", ("spec", "ca", "secretName"), GONE),
    ("Issuer", "shop", ("spec", "selfSigned"), {}),
    ("Certificate", "shop-main", ("spec", "issuerRef"), GONE),
    ("Certificate", "shop-main", ("spec", "secretname"), "x"),
    ("Certificate", "shop-main", ("spec", "duration"), "an hour"),
    ("Certificate", "shop-main", ("spec", "privateKey", "size"), 123),
    # names
    ("StatefulSet", MAIN, ("metadata", "name"), "Shop_Main"),
    ("StatefulSet", RUNNERS, ("metadata", "name"), "s" * 53),
    ("StatefulSet", MAIN, ("metadata", "labels", "app.kubernetes.io/name"), "a b"),
    ("Certificate", "shop-main", ("metadata", "name"), "shop-runner-0"),
    ("ConfigMap", MAIN, ("metadata", "namespace"), "elsewhere"),
    ("ConfigMap", MAIN, ("metadata", "name"), "other"),
    # who is who
    ("Issuer", "shop", ("spec", "ca", "secretName"), "other"),
    ("Certificate", "shop-main", ("spec", "issuerRef", "name"), "other"),
    ("Certificate", "shop-main", ("spec", "secretName"), "shop-runner-0-tls"),
    ("Certificate", "shop-main", ("spec", "secretName"), "shop-keys"),
    ("Certificate", "shop-main", ("spec", "secretName"), "other"),
    ("Certificate", "shop-main", ("spec", "uris", 0), "spiffe://shop/node/local-shop-runner-0"),
    ("Certificate", "shop-main", ("spec", "uris"), ["spiffe://shop/node/local-shop-main", "spiffe://shop/node/x"]),
    ("Certificate", "shop-main", ("spec", "commonName"), "main"),
    ("Certificate", "shop-main", ("spec", "isCA"), True),
    ("Certificate", "shop-main", ("spec", "usages"), ["digital signature", "key encipherment", "server auth"]),
    ("Certificate", "shop-main", ("spec", "privateKey", "encoding"), GONE),
    ("Certificate", "shop-main", ("spec", "privateKey", "rotationPolicy"), "Never"),
    ("Certificate", "shop-main", ("spec", "duration"), "24h"),
    ("Certificate", "shop-main", ("spec", "duration"), GONE),
    ("Certificate", "shop-main", ("spec", "duration"), "30m"),
    ("Certificate", "shop-main", ("spec", "renewBefore"), "1m"),
    ("Certificate", "shop-main", ("spec", "renewBefore"), "50m"),
    ("ConfigMap", MAIN, ("data", "shop-main-pod-0.main.json"), GONE),
    ("ConfigMap", MAIN, ("data", "shop-main-pod-0.main.json"), lambda text: text.replace("local-shop-main", "other")),
    ("ConfigMap", MAIN, ("data", "shop-main-pod-0.main.json"), lambda text: text.replace("/main", "/elsewhere")),
    ("ConfigMap", MAIN, ("data", "shop-main-pod-0.main.json"), lambda text: text.replace("lifetime", "crl")),
    ("StatefulSet", MAIN, (*POD, "volumes", 2, "projected", "sources", 0, "secret", "name"), "shop-runner-0-tls"),
    ("StatefulSet", MAIN, (*POD, "volumes", 2, "projected", "sources", 0, "secret", "items", 1, "key"), "tls.crt"),
    ("StatefulSet", MAIN, (*POD, "volumes", 2, "projected", "sources", 0, "secret", "items", 2, "path"), "ca.crt"),
    ("StatefulSet", RUNNERS, (*POD, "volumes", 2, "projected", "sources", 2), GONE),
    # what leads somewhere
    ("StatefulSet", MAIN, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "other"),
    ("StatefulSet", MAIN, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), GONE),
    ("StatefulSet", MAIN, ("spec", "template", "metadata", "labels", "app.kubernetes.io/part-of"), "other"),
    ("StatefulSet", MAIN, ("spec", "serviceName"), "other"),
    ("StatefulSet", MAIN, ("spec", "serviceName"), RUNNERS),
    ("StatefulSet", MAIN, (*FIRST, "volumeMounts", 0, "name"), "other"),
    ("StatefulSet", MAIN, (*POD, "volumes", 0), GONE),
    ("StatefulSet", MAIN, (*POD, "volumes", 1, "configMap", "name"), "other"),
    ("StatefulSet", MAIN, (*POD, "volumes", 3, "secret", "secretName"), "other"),
    ("StatefulSet", MAIN, (*POD, "initContainers", 0, "command", 4), "shop-runner-pod:2:4500-4501"),
    ("StatefulSet", MAIN, (*POD, "initContainers", 0, "command", 4), "shop-runner-pod:3:4500-4500"),
    ("StatefulSet", MAIN, (*POD, "initContainers", 0, "command", 4), "other:3:4500-4501"),
    ("Service", MAIN, ("spec", "selector", "app.kubernetes.io/name"), "other"),
    ("Service", MAIN, ("spec", "selector", "app.kubernetes.io/name"), GONE),
    ("Service", MAIN, ("spec", "ports", 0, "targetPort"), "other"),
    ("Service", MAIN, ("spec", "publishNotReadyAddresses"), False),
    ("Service", f"{MAIN}-public", ("spec", "publishNotReadyAddresses"), True),
    ("Ingress", f"{MAIN}-public", ("spec", "rules", 0, "http", "paths", 0, "backend", "service", "name"), "other"),
    ("Ingress", f"{MAIN}-public",
     ("spec", "rules", 0, "http", "paths", 0, "backend", "service", "port", "name"), "other"),
    # variables
    ("StatefulSet", MAIN, (*FIRST, "env", 0), GONE),
    ("StatefulSet", MAIN, (*FIRST, "env", 1, "name"), "POD_NAME"),
    ("StatefulSet", MAIN, (*FIRST, "env", 1, "valueFrom", "fieldRef", "fieldPath"), "status.ip"),
    ("StatefulSet", MAIN, (*FIRST, "env", 2), GONE),
    ("StatefulSet", MAIN, (*FIRST, "env", 2, "value"), "/etc/autonomy/nodes/main.json"),
    ("StatefulSet", MAIN, (*FIRST, "env", 3, "value"), "wss://[$(POD_IP)]:4401"),
    ("StatefulSet", MAIN, (*FIRST, "env", 4, "value"), "wss://[$(POD_ID)]:4400"),
    ("StatefulSet", MAIN, (*FIRST, "env", 5, "value"), "[$(POD_IP)]:4501"),
    ("StatefulSet", MAIN, (*FIRST, "env", 7, "value"), "5 $(each)"),
    ("StatefulSet", MAIN, (*FIRST, "env", 8, "valueFrom", "secretKeyRef", "name"), "other"),
    # probes, and the end
    *(("StatefulSet", MAIN, (*FIRST, probe), GONE) for probe in ("startupProbe", "livenessProbe", "readinessProbe")),
    ("StatefulSet", MAIN, (*FIRST, "readinessProbe", "httpGet", "path"), "/live"),
    ("StatefulSet", MAIN, (*FIRST, "livenessProbe", "httpGet", "path"), "/ready"),
    ("StatefulSet", MAIN, (*FIRST, "livenessProbe", "httpGet", "port"), "node"),
    ("StatefulSet", MAIN, (*FIRST, "livenessProbe", "httpGet", "port"), "other"),
    ("StatefulSet", MAIN, (*FIRST, "livenessProbe", "failureThreshold"), 1),
    ("StatefulSet", MAIN, (*FIRST, "lifecycle"), GONE),
    ("StatefulSet", MAIN, (*FIRST, "lifecycle", "preStop", "exec", "command", 1), "30"),
    ("StatefulSet", MAIN, (*POD, "terminationGracePeriodSeconds"), 35),
    ("StatefulSet", RUNNERS, (*POD, "terminationGracePeriodSeconds"), 25),
    ("StatefulSet", RUNNERS, (*POD, "containers", 1, "ports", 0, "containerPort"), 4400),
    ("StatefulSet", RUNNERS, (*POD, "containers", 1, "ports", 0, "name"), "node"),
    ("StatefulSet", RUNNERS, (*POD, "containers", 1, "ports", 0, "name"), "the-port-of-nodes"),
    # confinement
    ("StatefulSet", MAIN, (*POD, "securityContext", "runAsNonRoot"), GONE),
    ("StatefulSet", MAIN, (*POD, "securityContext", "runAsUser"), 0),
    ("StatefulSet", MAIN, (*POD, "securityContext", "fsGroup"), 1),
    ("StatefulSet", MAIN, (*POD, "securityContext", "fsGroupChangePolicy"), "Always"),
    ("StatefulSet", MAIN, (*POD, "securityContext", "seccompProfile", "type"), "Unconfined"),
    ("StatefulSet", MAIN, (*POD, "automountServiceAccountToken"), GONE),
    ("StatefulSet", MAIN, (*POD, "hostNetwork"), True),
    ("StatefulSet", MAIN, (*FIRST, "securityContext", "readOnlyRootFilesystem"), False),
    ("StatefulSet", MAIN, (*FIRST, "securityContext", "allowPrivilegeEscalation"), True),
    ("StatefulSet", MAIN, (*FIRST, "securityContext", "capabilities", "add"), ["NET_ADMIN"]),
    ("StatefulSet", MAIN, (*POD, "initContainers", 0, "securityContext"), GONE),
    ("StatefulSet", MAIN, (*FIRST, "resources", "limits"), GONE),
    ("StatefulSet", MAIN, (*POD, "volumes", 2, "projected", "defaultMode"), 0o444),
    ("StatefulSet", MAIN, (*POD, "volumes", 3, "secret", "defaultMode"), GONE),
    # the network
    ("NetworkPolicy", "shop", ("spec", "podSelector", "matchLabels"), OPEN),
    ("NetworkPolicy", "shop", ("spec", "policyTypes"), ["Ingress"]),
    ("NetworkPolicy", "shop", ("spec", "ingress", 0, "ports"), GONE),
    ("NetworkPolicy", "shop", ("spec", "ingress", 0, "ports", 0, "endPort"), 4410),
    ("NetworkPolicy", "shop", ("spec", "ingress", 0, "ports", 0, "endPort"), GONE),
    ("NetworkPolicy", "shop", ("spec", "ingress", 0, "from", 0, "podSelector", "matchLabels"), OPEN),
    ("NetworkPolicy", "shop", ("spec", "egress", 1), GONE),
    ("NetworkPolicy", f"{MAIN}-public", ("spec", "ingress", 0, "ports", 0, "port"), 80),
    ("NetworkPolicy", f"{MAIN}-public", ("spec", "ingress", 0, "ports"), GONE),
    ("PodDisruptionBudget", RUNNERS, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "main-pod"),
    ("PodDisruptionBudget", RUNNERS, ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "other"),
]  # fmt: skip
WITH_TICKETS_BREAKS: list[Break] = [
    ("StatefulSet", RUNNERS, (*FIRST, "env", 3), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 4), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 5, "value"), "/tmp/home"),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 6), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 5), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 2), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 6, "value"), "/etc/autonomy/ticket/other"),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 6, "value"), "/var/lib/autonomy/ticket"),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 7), GONE),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 8, "value"), "other"),
    ("StatefulSet", RUNNERS, (*FIRST, "env", 9), GONE),
    ("StatefulSet", RUNNERS, (*POD, "volumes", 1, "secret", "secretName"), "other"),
    ("StatefulSet", RUNNERS, (*POD, "volumes", 1, "secret", "defaultMode"), GONE),
    ("StatefulSet", RUNNERS, ("spec", "volumeClaimTemplates"), GONE),
    ("StatefulSet", "shop-authority", (*POD, "terminationGracePeriodSeconds"), 20),
    ("StatefulSet", "shop-authority", (*FIRST, "ports", 1), GONE),
    ("StatefulSet", "shop-authority", ("spec", "volumeClaimTemplates", 0, "metadata", "name"), "other"),
    ("StatefulSet", "shop-authority", (*POD, "initContainers", 0, "securityContext", "readOnlyRootFilesystem"), False),
    ("Service", "shop-authority", ("spec", "ports", 1, "targetPort"), "http"),
    ("NetworkPolicy", "shop", ("spec", "ingress", 0, "ports", 2), GONE),
]


def name_of(case: Break) -> str:
    return f"{case[0]}-{'.'.join(str(step) for step in case[2][-3:])}"


@pytest.mark.parametrize("case", BREAKS, ids=name_of)
def test_a_mistake_in_manifests_is_found(case: Break) -> None:
    assert complaints(broken(CERTIFICATES, *case))


@pytest.mark.parametrize("case", WITH_TICKETS_BREAKS, ids=name_of)
def test_a_mistake_in_manifests_with_tickets_is_found(case: Break) -> None:
    assert complaints(broken(WITH_TICKETS, *case))


@pytest.mark.parametrize("documents", [CERTIFICATES, WITH_TICKETS], ids=["cert-manager", "tickets"])
def test_without_a_mistake_nothing_is_found(documents: list[Document]) -> None:
    assert complaints(documents) == []


@pytest.mark.parametrize("documents", [CERTIFICATES, WITH_TICKETS], ids=["cert-manager", "tickets"])
def test_an_object_that_is_missing_is_missed(documents: list[Document]) -> None:
    """Not missed are those that nothing names: policies, budgets, and ways in from outside."""
    unnamed = {"NetworkPolicy", "PodDisruptionBudget", "Ingress"}

    for number, each in enumerate(documents):
        left = documents[:number] + documents[number + 1 :]
        is_way_in = each["metadata"]["name"].endswith("-public")
        if each["kind"] not in unnamed and not (is_way_in and documents is WITH_TICKETS):
            assert problems(left, GIVEN), f"{each['kind']}/{each['metadata']['name']} is not missed"


def test_an_object_that_is_there_twice_is_noticed() -> None:
    assert problems([*CERTIFICATES, CERTIFICATES[-1]], GIVEN)
