"""What no schema says of a zone's manifests, checked: that names lead somewhere, and that a node would start.

`problems` reads documents alone, and knows nothing of how they were made. Each check is one promise to whoever runs
`kubectl apply`; `test_broken_manifests.py` breaks each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec

from autonomy._links.addresses import parse_address
from autonomy._sansio.border import check_place
from autonomy._sansio.node_file import NodeFile
from autonomy._sansio.spiffe import parse_node_uri

from .cert_manager_schema import SCHEMAS

Document = dict[str, Any]
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LONGEST_SET = 52
FIELDS = {
    "metadata.name": "POD",
    "status.podIP": "10.1.2.3",
    "metadata.labels['apps.kubernetes.io/pod-index']": "INDEX",
}
UNITS = {"h": 3600, "m": 60, "s": 1}


class Objects:
    """The documents of one zone, by kind."""

    def __init__(self, documents: list[Document]) -> None:
        self.all = documents

    def of(self, kind: str) -> list[Document]:
        return [each for each in self.all if each["kind"] == kind]

    def named(self, kind: str, name: str) -> Document | None:
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    def selected(self, labels: dict[str, str]) -> list[Document]:
        """Return the StatefulSets whose pods have these labels."""
        templates = ((each, each["spec"]["template"]["metadata"]["labels"]) for each in self.of("StatefulSet"))
        return [each for each, own in templates if labels.items() <= own.items()]


def problems(documents: list[Document], given_secrets: set[str]) -> list[str]:
    """Return what is wrong with the manifests of a zone, given the Secrets that whoever runs it makes."""
    objects = Objects(documents)
    found: list[str] = []
    for document in documents:
        about = f"{document['kind']}/{document['metadata']['name']}"
        check = CHECKS.get(document["kind"])
        wrong = [*_names(objects, document), *(check(objects, document, given_secrets) if check else ())]
        found += [f"{about}: {each}" for each in wrong]
    return found


def _names(objects: Objects, document: Document) -> Iterator[str]:
    kind, name = document["kind"], document["metadata"]["name"]
    same = [each for each in objects.of(kind) if each["metadata"]["name"] == name]
    if len(same) > 1:
        yield "is here twice"
    parts = name.split(".") if kind in ("Certificate", "ConfigMap", "Issuer") else [name]
    if len(name) > 253 or not all(LABEL.fullmatch(part) for part in parts):
        yield "is no name"
    if kind == "StatefulSet" and len(name) > LONGEST_SET:
        yield f"has a name longer than {LONGEST_SET}"
    for key, value in document["metadata"].get("labels", {}).items():
        if not VALUE.fullmatch(value):
            yield f"label {key} cannot be {value!r}"
    if len({each["metadata"].get("namespace") for each in objects.all}) > 1:
        yield "is in another namespace than something else"


# ---- identities


def _issuer(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    yield from _schema(document)
    if document["spec"].get("ca", {}).get("secretName") not in secrets:
        yield "nobody makes the Secret of its CA"


def _certificate(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    yield from _schema(document)
    spec = document["spec"]
    if objects.named("Issuer", spec.get("issuerRef", {}).get("name", "")) is None:
        yield "its issuer is not there"
    others = [each for each in objects.of("Certificate") if each["spec"].get("secretName") == spec.get("secretName")]
    if len(others) > 1 or spec.get("secretName") in secrets:
        yield "its Secret is another one's too"
    if spec.get("usages") != ["digital signature", "server auth", "client auth"]:
        yield "a node would refuse it for its usages"
    if spec.get("privateKey") != {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"}:
        yield "a node would refuse it for its key"
    if len(spec.get("uris", [])) != 1 or {"commonName", "subject", "isCA"} & set(spec):
        yield "a node would refuse it for its names"
    lasts, before = _seconds(spec.get("duration", "2160h")), _seconds(spec.get("renewBefore", "0s"))
    if lasts != 3600:
        yield "cert-manager refuses less than an hour, and nodes refuse more"
    if not 300 <= before <= lasts / 2:
        yield "it is renewed too late, or all the time"


def _seconds(duration: str) -> float:
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([0-9.]+)([hms])", duration))


def _schema(document: Document) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(SCHEMAS[document["kind"]]).iter_errors(document):
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


# ---- pods


def _stateful_set(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    spec, template = document["spec"], document["spec"]["template"]
    if not spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        yield "its selector does not find its own pods"
    if len(objects.selected(spec["selector"]["matchLabels"])) != 1:
        yield "its selector finds other pods than its own"
    service = objects.named("Service", spec["serviceName"])
    if service is None or document not in objects.selected(service["spec"]["selector"]):
        yield "its Service is not there, or leads elsewhere"
    pod = template["spec"]
    yield from _confinement(pod)
    yield from _volumes(objects, document, secrets)
    yield from _ports(pod)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield from (f"{container['name']}: {each}" for each in _environment(container, secrets))
    for container in pod["containers"]:
        yield from (f"{container['name']}: {each}" for each in _life(pod, container))
        yield from (f"{container['name']}: {each}" for each in _identity(objects, document, container))
    yield from _waiting(objects, pod)


def _confinement(pod: Document) -> Iterator[str]:
    """Hold a pod against the profile ``restricted`` of Kubernetes, and a little more."""
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "runs as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token of the cluster"
    if context.get("fsGroupChangePolicy") != "OnRootMismatch":
        yield "opens private files to its group at each start"
    if context.get("fsGroup") != context.get("runAsGroup"):
        yield "cannot read what is mounted for its group"
    if pod.get("hostNetwork") or pod.get("hostPID"):
        yield "is not apart from its machine"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} has capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} can write its own files"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{container['name']} takes what it wants"


def _volumes(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    pod = document["spec"]["template"]["spec"]
    there = {each["name"] for each in pod.get("volumes", [])}
    there |= {each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates", [])}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in there:
                yield f"{container['name']} mounts {mount['name']}, which is not there"
    used = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    for volume in pod.get("volumes", []):
        if volume["name"] not in used:
            yield f"nobody mounts {volume['name']}"
        yield from _volume(objects, volume, secrets)


def _volume(objects: Objects, volume: Document, secrets: set[str]) -> Iterator[str]:
    made = secrets | {each["spec"].get("secretName") for each in objects.of("Certificate")}
    if "configMap" in volume and objects.named("ConfigMap", volume["configMap"]["name"]) is None:
        yield f"ConfigMap {volume['configMap']['name']} is not there"
    for source in volume.get("projected", {}).get("sources", []):
        if source["secret"]["name"] not in made:
            yield f"nobody makes Secret {source['secret']['name']}"
    if "secret" in volume and volume["secret"]["secretName"] not in made:
        yield f"nobody makes Secret {volume['secret']['secretName']}"
    for kind in ("secret", "projected"):
        if kind in volume and volume[kind].get("defaultMode") != 0o440:
            yield f"{volume['name']} can be read by others"


def _ports(pod: Document) -> Iterator[str]:
    ports = [port for container in pod["containers"] for port in container.get("ports", [])]
    numbers, names = [port["containerPort"] for port in ports], [port["name"] for port in ports]
    if len(set(numbers)) < len(numbers) or len(set(names)) < len(names):
        yield "two ports are one"
    if any(len(name) > 15 for name in names):
        yield "the name of a port is longer than 15"


def _environment(container: Document, secrets: set[str]) -> Iterator[str]:
    known: dict[str, str] = {}
    for variable in container.get("env", []):
        name = variable["name"]
        if name in known:
            yield f"{name} is set twice"
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source and source["secretKeyRef"]["name"] not in secrets:
            yield f"nobody makes Secret {source['secretKeyRef']['name']}"
        if "fieldRef" in source and source["fieldRef"]["fieldPath"] not in FIELDS:
            yield f"{name} is filled in from nowhere"
        for named in re.findall(r"(?<!\$)\$\(([^)]*)\)", variable.get("value", "")):
            if named not in known:
                yield f"{name} names {named}, which is not set before it"
        known[name] = variable.get("value", "")


def _life(pod: Document, container: Document) -> Iterator[str]:
    """Check that a container is asked where it answers, and has time to end in good order."""
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    told = {each["name"]: each.get("value", "") for each in container["env"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asks = container.get(probe, {}).get("httpGet", container.get(probe, {}).get("tcpSocket"))
        if asks is None:
            if probe != "startupProbe" or "AUTONOMY_HEALTH" in told:
                yield f"has no {probe}"
        elif asks["port"] not in ports:
            yield f"{probe} asks a port that is not there"
        elif "path" in asks:
            if asks["path"] != ("/ready" if probe == "readinessProbe" else "/live"):
                yield f"{probe} asks something else"
            if check_place(_filled(told.get("AUTONOMY_HEALTH", "a:0")), "")[1] != ports[asks["port"]]:
                yield f"{probe} asks where nobody answers"
    if container.get("livenessProbe", {}).get("failureThreshold", 3) < 6:
        yield "is ended while a handler computes"
    command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    before, serves = int(command[1]), "http" in ports
    if pod.get("terminationGracePeriodSeconds", 30) < before + 26 + (5 if serves else 0):
        yield "is killed before it has ended in good order"
    if serves and not before:
        yield "ends while requests still come"


def _identity(objects: Objects, document: Document, container: Document) -> Iterator[str]:
    """Check that each clone of a container is told who it is, and finds the credentials for that."""
    told = {each["name"]: each.get("value", "") for each in container["env"]}
    if "AUTONOMY_NODE_FILE" not in told:
        is_authority = "authority" in container.get("command", [])
        if not is_authority and not {"AUTONOMY_HOME", "ENROLLMENT_TICKET_FILE", "NODE", "ZONE"} <= set(told):
            yield "is not told who it is"
        labels = document["spec"]["template"]["metadata"]["labels"]
        if not is_authority and told.get("AUTONOMY_POD") != labels["app.kubernetes.io/name"]:
            yield "is not told its pod"
        if not is_authority and told.get("AUTONOMY_CONTAINER") != container["name"]:
            yield "is not told its container"
        if ("POD_INDEX" in told) != ("AUTONOMY_INDEX" in told):
            yield "is not told which clone it is"
        if "AUTONOMY_HOME" in told and _mounted_below(document, container, told["AUTONOMY_HOME"]) != "state":
            yield "forgets who it is"
        if "ENROLLMENT_TICKET_FILE" in told:
            folder, _, key = told["ENROLLMENT_TICKET_FILE"].rpartition("/")
            if key != "ticket" or "secret" not in (_mounted_at(document, container, folder) or {}):
                yield "finds no ticket"
        return
    ports = {port["name"].partition("-")[0]: port["containerPort"] for port in container["ports"]}
    for variable in ("AUTONOMY_LISTEN", "AUTONOMY_ADDRESS"):
        try:
            port = parse_address(_filled(told.get(variable, "")))[1]
        except ValueError:
            port = 0
        if port != ports.get("node"):
            yield f"{variable} is not its port"
    for index in range(document["spec"]["replicas"]):
        pod = f"{document['metadata']['name']}-{index}"
        file = _node_file(objects, document, container, told["AUTONOMY_NODE_FILE"].replace("$(POD_NAME)", pod))
        if file is None:
            yield f"clone {index} finds no node file"
            continue
        yield from (f"clone {index}: {each}" for each in _credentials(objects, document, container, file))


def _node_file(objects: Objects, document: Document, container: Document, path: str) -> NodeFile | None:
    folder, _, name = path.rpartition("/")
    volume = _mounted_at(document, container, folder)
    config = objects.named("ConfigMap", volume.get("configMap", {}).get("name", "")) if volume else None
    text = config["data"].get(name) if config else None
    if text is None:
        return None
    return msgspec.json.decode(text, type=NodeFile)


def _mounted_below(document: Document, container: Document, path: str) -> str:
    """Return which claim of storage a path lies in."""
    claims = {each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates", [])}
    mounts = (each for each in container["volumeMounts"] if path.startswith(f"{each['mountPath']}/"))
    return next((each["name"] for each in mounts if each["name"] in claims), "")


def _mounted_at(document: Document, container: Document, folder: str) -> Document | None:
    pod = document["spec"]["template"]["spec"]
    mount: Document = next((each for each in container.get("volumeMounts", []) if each["mountPath"] == folder), {})
    return next((each for each in pod["volumes"] if each["name"] == mount.get("name")), None)


def _credentials(objects: Objects, document: Document, container: Document, file: NodeFile) -> Iterator[str]:
    folder, _, short = file.credentials.rpartition("/")
    volume = _mounted_at(document, container, folder) or {}
    sources = volume.get("projected", {}).get("sources", [])
    files = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in sources
        for item in source["secret"].get("items", [])
    }
    wanted = [files.get(f"{short}/{key}") for key in ("tls.crt", "tls.key", "ca.crt")]
    names = {each[0] for each in wanted if each}
    if None in wanted or len(names) != 1 or [each[1] for each in wanted if each] != ["tls.crt", "tls.key", "ca.crt"]:
        yield "finds no credentials"
        return
    made = [each for each in objects.of("Certificate") if each["spec"].get("secretName") in names]
    uris = [uri for each in made for uri in each["spec"].get("uris", [])]
    if [parse_node_uri(uri, file.zone) for uri in uris] != [file.name]:
        yield f"is {file.name}, and its certificate is that of {uris}"
    if file.revocation != "lifetime":
        yield "would trust nobody: cert-manager makes no lists of what was revoked"


def _waiting(objects: Objects, pod: Document) -> Iterator[str]:
    for container in pod.get("initContainers", []):
        if "autonomy._deploy.waiting" not in container["command"]:
            continue
        for each in container["command"][4:]:
            name, count, ports = each.split(":")
            other = objects.named("StatefulSet", name)
            asked = [int(port) for port in ports.split("-")]
            if other is None or other["spec"]["replicas"] != int(count):
                yield f"waits for {name}, of which there are not {count}"
            elif asked != _health_ports(other):
                yield f"waits for {name} where nobody answers"


def _health_ports(document: Document) -> list[int]:
    containers = document["spec"]["template"]["spec"]["containers"]
    found = [p["containerPort"] for each in containers for p in each["ports"] if p["name"].startswith("health")]
    return [min(found), max(found)]


def _filled(value: str) -> str:
    return value.replace("$(POD_IP)", "10.1.2.3")


# ---- the network


def _service(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    spec = document["spec"]
    found = objects.selected(spec["selector"])
    if len(found) != 1:
        yield "leads to no pod, or to several"
        return
    pod = found[0]["spec"]["template"]["spec"]
    there = {port["name"] for container in pod["containers"] for port in container.get("ports", [])}
    for port in spec["ports"]:
        if port["targetPort"] not in there:
            yield f"leads to port {port['targetPort']}, which is not there"
    is_headless = spec.get("clusterIP") == "None"
    if is_headless is not bool(spec.get("publishNotReadyAddresses")):
        yield "lists pods that are not ready, or hides them from each other"


def _ingress(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    for rule in document["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            wanted = path["backend"]["service"]
            service = objects.named("Service", wanted["name"])
            if service is None or wanted["port"]["name"] not in [each["name"] for each in service["spec"]["ports"]]:
                yield f"leads to {wanted['name']}, which is not there"


def _policy(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    spec = document["spec"]
    found = objects.selected(spec["podSelector"]["matchLabels"])
    if not found:
        yield "is about no pod"
    if sorted(spec["policyTypes"]) != sorted(each.capitalize() for each in ("ingress", "egress") if each in spec):
        yield "says less than it means"
    there = {port["containerPort"] for each in found for port in _all_ports(each)}
    opened = {number for rule in spec["ingress"] for port in rule.get("ports", []) for number in _range(port)}
    if any("ports" not in rule for rule in spec["ingress"]) or not opened <= there:
        yield "opens ports that nobody has"
    sources = [each for rule in spec["ingress"] for each in rule.get("from", [])]
    if any(not objects.selected(each["podSelector"]["matchLabels"]) for each in sources):
        yield "lets in pods that are not there"
    if "egress" in spec:
        yield from _closed_zone(objects, found, opened, spec)


def _closed_zone(objects: Objects, found: list[Document], opened: set[int], spec: Document) -> Iterator[str]:
    if len(found) != len(objects.of("StatefulSet")):
        yield "leaves pods of the zone open"
    needed = {p["containerPort"] for each in found for p in _all_ports(each) if p["name"] != "http"}
    if opened != needed:
        yield "keeps nodes from each other"
    if {53} not in [{number for port in rule["ports"] for number in _range(port)} for rule in spec["egress"]]:
        yield "keeps pods from DNS"


def _all_ports(document: Document) -> Iterator[Document]:
    for container in document["spec"]["template"]["spec"]["containers"]:
        yield from container.get("ports", [])


def _range(port: Document) -> range:
    first: int = port["port"]
    last: int = port.get("endPort", first)
    return range(first, last + 1)


def _budget(objects: Objects, document: Document, secrets: set[str]) -> Iterator[str]:
    found = objects.selected(document["spec"]["selector"]["matchLabels"])
    if len(found) != 1 or found[0]["spec"]["replicas"] < 2:
        yield "keeps machines from being emptied, or is about no pod"


CHECKS = {
    "Issuer": _issuer,
    "Certificate": _certificate,
    "StatefulSet": _stateful_set,
    "Service": _service,
    "Ingress": _ingress,
    "NetworkPolicy": _policy,
    "PodDisruptionBudget": _budget,
}
