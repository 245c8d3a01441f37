"""A zone on Kubernetes: its manifests are valid, complete, closed, and change where somebody changes something."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from autonomy._deploy.kubernetes import kubernetes_files, needed_secrets
from autonomy._deploy.manifests import Choices, etcd_endpoints
from autonomy._deploy.zone_file import read_cluster_zone
from autonomy._sansio.rights import Rights
from autonomy._sansio.shipment import CodePolicy
from autonomy._sansio.spec import ZoneSpec

from .kubernetes_checks import Document, problems
from .manifest_zone import CERT_MANAGER, ETCD, GIVEN, GOLDEN, TICKETS, golden_files, made, shop

BOTH = pytest.mark.parametrize("choices", [CERT_MANAGER, TICKETS], ids=["cert-manager", "tickets"])
MINORS = {kubernetes_validate.utils.major_minor(each) for each in kubernetes_validate.utils.all_versions()}
VERSIONS = sorted((each for each in MINORS if int(each[2:]) >= 27), key=lambda each: int(each[2:]))


def zone(tmp_path: Path, text: str) -> ZoneSpec:
    """Return the zone that a zone file of this text describes; there is one image, ``i``."""
    (tmp_path / "images" / "i").mkdir(parents=True, exist_ok=True)
    (tmp_path / "autonomy.yaml").write_text(text)
    return read_cluster_zone(tmp_path)


# ---- what is made


def test_manifests_are_as_they_were_read_last() -> None:
    wanted = golden_files()

    there = {path: path.read_text() for path in GOLDEN.glob("*/*.yaml") if path.parent.name != "shop"}

    assert there == wanted, "run: python tools/golden_manifests.py, and read what has changed"


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@BOTH
def test_every_object_is_one_of_that_version_of_kubernetes(choices: Choices, version: str) -> None:
    for document in made(shop(), choices):
        if not document["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(document, version, strict=True)


def test_versions_from_1_27_on_are_validated() -> None:
    assert VERSIONS[0] == "1.27"
    assert len(VERSIONS) >= 11


@BOTH
def test_everything_that_is_named_is_there(choices: Choices) -> None:
    assert problems(made(shop(), choices), GIVEN) == []


@BOTH
def test_everything_that_is_named_is_there_for_the_example_zones_too(choices: Choices) -> None:
    for example in ("multinode", "three_nodes"):
        spec = read_cluster_zone(Path("examples") / example)
        found = replace(choices, ingress={}, directory_secret=None)

        assert problems(made(spec, found), {f"{spec.name}-ca", f"{spec.name}-ticket"}) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("name", ["cert-manager", "tickets"])
def test_kubectl_takes_the_folder(name: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(GOLDEN / name)], capture_output=True, text=True, timeout=60, check=True
    )

    choices = CERT_MANAGER if name == "cert-manager" else TICKETS
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}
    assert found == {(each["kind"], each["metadata"]["name"]): each for each in made(shop(), choices)}


def test_the_same_zone_makes_the_same_manifests() -> None:
    assert made(shop(), CERT_MANAGER) == made(shop(), CERT_MANAGER)


@BOTH
def test_whoever_runs_the_zone_is_told_which_secrets_to_make(choices: Choices) -> None:
    told = {each.partition(":")[0] for each in needed_secrets(shop(), choices)}

    assert told <= GIVEN
    assert problems(made(shop(), choices), told) == []


def test_a_thousand_clones_are_one_stateful_set(tmp_path: Path) -> None:
    spec = zone(tmp_path, "name: z\npods: [{name: p, clones: 1000, containers: [{name: c, image: i}]}]\n")

    documents = made(spec, Choices("r", "t", directory="etcd://e:2379"))

    assert [each["spec"]["replicas"] for each in documents if each["kind"] == "StatefulSet"] == [1000]
    assert problems(documents, {"z-ca"}) == []


# ---- secrets


def test_no_secret_is_in_any_manifest(tmp_path: Path) -> None:
    env = "{API_KEY: {secret: keys, key: api}, GREETING: hello}"
    spec = zone(tmp_path, f"name: z\npods: [{{name: p, containers: [{{name: c, image: i, env: {env}}}]}}]\n")

    for choices in (Choices("r", "t", directory="etcd://e:2379"), replace(TICKETS)):
        documents = made(spec, choices)
        variables = [
            each
            for document in documents
            if document["kind"] == "StatefulSet"
            for container in document["spec"]["template"]["spec"]["containers"]
            for each in container["env"]
        ]

        assert [each["kind"] for each in documents if each["kind"] == "Secret"] == []
        assert [
            each for each in variables if each["name"] in ("API_KEY", "ENROLLMENT_TICKET") and "value" in each
        ] == []
        assert "PRIVATE KEY" not in str(documents)


@pytest.mark.parametrize("url", ["etcd://root:hunter2@e:2379", "etcd://root@e:2379"])
def test_a_password_in_the_directorys_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"write \?user=NAME&password-file=PATH|written \?user=NAME&password-file=PATH"
    ) as caught:
        Choices("r", "t", directory=url)

    assert "hunter2" not in str(caught.value)


# ---- what an operator changes, and what changes then


def flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield all leaves below a value, each with its path. Lists whose items have names are walked by these."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from flat(each, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            name = each.get("name", each.get("host", number)) if isinstance(each, dict) else number
            yield from flat(each, f"{path}[{name}]")
    else:
        yield path, value


def leaves(documents: list[Document]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in documents:
        found |= dict(flat(each, f"{each['kind']}/{each['metadata']['name']}"))
    return found


def changed(before: list[Document], after: list[Document]) -> set[str]:
    """Return the paths of what differs; of an object that came or went, its name alone."""
    old, new = leaves(before), leaves(after)
    names = [{f"{each['kind']}/{each['metadata']['name']}" for each in documents} for documents in (before, after)]
    whole = names[0] ^ names[1]
    paths = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    return {next((name for name in whole if path.startswith(f"{name}.")), path) for path in paths}


POD = "StatefulSet/shop-main-pod.spec.template.spec"
MAIN = f"{POD}.containers[main]"
RUNNERS = "StatefulSet/shop-runner-pod.spec.template.spec"
RUNNER = f"{RUNNERS}.containers[runner]"
SETS = ("main-pod", "runner-pod")
IMAGES = {f"{MAIN}.image", f"{RUNNER}.image", f"{RUNNERS}.containers[helper].image",
          f"{POD}.initContainers[wait-for-others].image"}  # fmt: skip
DIGESTS = {f"StatefulSet/shop-{pod}.spec.template.metadata.annotations.autonomy/node-files" for pod in SETS}
NODE_FILES = {
    *(
        f"ConfigMap/shop-runner-pod.data.shop-runner-pod-{n}.{name}.json"
        for n in range(3)
        for name in ("runner", "helper")
    ),
    "ConfigMap/shop-main-pod.data.shop-main-pod-0.main.json",
}
BY_HAND: list[tuple[str, str, str, set[str]]] = [
    ("another value", "GREETING: hello", "GREETING: bye", {f"{MAIN}.env[GREETING].value"}),
    ("another secret", "key: api", "key: other", {f"{MAIN}.env[API_KEY].valueFrom.secretKeyRef.key"}),
    ("another image", "- name: main\n        image: main", "- name: main\n        image: runner",
     {f"{MAIN}.image", f"{POD}.initContainers[wait-for-others].image"}),
    ("another size", "size: big", "size: small",
     {f"{RUNNERS}.containers[{name}].resources.{each}" for name in ("runner", "helper") for each in (
         "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.memory", "limits.ephemeral-storage")}
     | {f"{RUNNERS}.volumes[scratch].emptyDir.sizeLimit"}),
    ("one clone more", "clones: 3", "clones: 4",
     {"StatefulSet/shop-runner-pod.spec.replicas", "Certificate/shop-runner-3", "Certificate/shop-helper-3",
      "ConfigMap/shop-runner-pod.data.shop-runner-pod-3.runner.json",
      "ConfigMap/shop-runner-pod.data.shop-runner-pod-3.helper.json",
      f"{POD}.initContainers[wait-for-others].command[4]"}
     | {f"{RUNNERS}.volumes[identity-{n}].projected.sources[3].secret.{rest}" for n in (0, 1) for rest in (
         "name", *(f"items[{i}].{what}" for i in range(3) for what in ("key", "path")))}),
    ("no longer public", "public: true", "public: false",
     {"Service/shop-main-pod-public", "NetworkPolicy/shop-main-pod-public", "Ingress/shop-main-pod-public",
      f"{MAIN}.ports[http].name", f"{MAIN}.ports[http].containerPort", f"{POD}.terminationGracePeriodSeconds",
      f"{MAIN}.lifecycle.preStop.exec.command[0]", f"{MAIN}.lifecycle.preStop.exec.command[1]"}),
]  # fmt: skip
BY_OPTION: list[tuple[dict[str, Any], set[str]]] = [
    ({"tag": "2"}, IMAGES),
    ({"registry": "elsewhere"}, IMAGES),
    ({"wait": 30}, {f"{POD}.initContainers[wait-for-others].command[3]"}),
    ({"public_port": 9000},
     {f"{MAIN}.ports[http].containerPort", "NetworkPolicy/shop-main-pod-public.spec.ingress[0].ports[0].port"}),
    ({"ingress": {"main-pod": "b.example"}}, {
        "Ingress/shop-main-pod-public.spec.rules[shop.example.com].host",
        "Ingress/shop-main-pod-public.spec.rules[b.example].host",
        *(f"Ingress/shop-main-pod-public.spec.rules[{host}].http.paths[0].{rest}"
          for host in ("shop.example.com", "b.example")
          for rest in ("path", "pathType", "backend.service.name", "backend.service.port.name")),
    }),
    ({"ingress": {}}, {"Ingress/shop-main-pod-public"}),
    ({"rights": Rights(manage="*")}, NODE_FILES | DIGESTS),
    ({"code": CodePolicy("source")}, NODE_FILES | DIGESTS),
    ({"directory": ETCD.replace("infra", "other")},
     NODE_FILES | DIGESTS
     | {"NetworkPolicy/shop.spec.egress[2].to[0].namespaceSelector.matchLabels.kubernetes.io/metadata.name"}),
    ({"directory_secret": "other"},
     {f"StatefulSet/shop-{pod}.spec.template.spec.volumes[directory].secret.secretName" for pod in SETS}),
    ({"cluster": "west"}, NODE_FILES | DIGESTS | {
        f"Certificate/shop-{node}.spec.uris[0]"
        for node in ("main", *(f"{name}-{n}" for name in ("runner", "helper") for n in range(3)))}),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), [each[1:] for each in BY_HAND], ids=[each[0] for each in BY_HAND])
def test_a_change_of_the_zone_file_changes_what_it_is_about_and_nothing_else(
    old: str, new: str, expected: set[str], tmp_path: Path
) -> None:
    shutil.copytree(GOLDEN / "shop", tmp_path / "shop")
    file = tmp_path / "shop" / "autonomy.yaml"
    assert old in file.read_text()

    file.write_text(file.read_text().replace(old, new))
    choices = replace(CERT_MANAGER, ingress={}) if "false" in new else CERT_MANAGER
    after = made(read_cluster_zone(tmp_path / "shop"), choices)

    assert changed(made(shop(), CERT_MANAGER), after) == expected
    assert problems(after, GIVEN) == []


@pytest.mark.parametrize(("option", "expected"), BY_OPTION, ids=["-".join(each[0]) for each in BY_OPTION])
def test_a_change_of_an_option_changes_what_it_is_about_and_nothing_else(
    option: dict[str, Any], expected: set[str]
) -> None:
    after = made(shop(), replace(CERT_MANAGER, **option))

    assert changed(made(shop(), CERT_MANAGER), after) == expected
    assert problems(after, GIVEN | {"other"}) == []


AUTHORITY = "StatefulSet/shop-authority.spec.template.spec"
WITH_TICKETS: list[tuple[dict[str, Any], set[str]]] = [
    ({"base_image": "elsewhere/base:7"},
     {f"{AUTHORITY}.initContainers[make-ca].image", f"{AUTHORITY}.containers[authority].image"}),
    ({"cluster": "west"}, {f"{AUTHORITY}.initContainers[make-ca].command[9]"}),
    ({"directory": "etcd://10.1.2.3:2379"},
     {f"{AUTHORITY}.initContainers[make-ca].command[{number}]" for number in (10, 11)}
     | {f"NetworkPolicy/shop.spec.egress[2].{rest}" for rest in (
         "to[0].ipBlock.cidr", "ports[0].protocol", "ports[0].port")}),
    ({"directory_secret": "shop-etcd"},
     {f"StatefulSet/shop-{pod}.spec.template.spec.volumes[directory].{rest}"
      for pod in (*SETS, "authority") for rest in ("name", "secret.secretName", "secret.defaultMode")}
     | {f"{container}.volumeMounts[directory].{rest}" for rest in ("name", "mountPath", "readOnly") for container in (
         MAIN, RUNNER, f"{RUNNERS}.containers[helper]",
         f"{AUTHORITY}.initContainers[make-ca]", f"{AUTHORITY}.containers[authority]")}),
]  # fmt: skip


@pytest.mark.parametrize(("option", "expected"), WITH_TICKETS, ids=["-".join(each[0]) for each in WITH_TICKETS])
def test_with_tickets_a_change_of_an_option_changes_what_it_is_about(
    option: dict[str, Any], expected: set[str]
) -> None:
    after = made(shop(), replace(TICKETS, **option))

    assert changed(made(shop(), TICKETS), after) == expected
    assert problems(after, GIVEN) == []


def test_another_namespace_is_that_of_every_object() -> None:
    before, after = made(shop(), CERT_MANAGER), made(shop(), replace(CERT_MANAGER, namespace="other"))

    assert {path.partition(".")[2] for path in changed(before, after)} == {"metadata.namespace"}
    assert {each["metadata"]["namespace"] for each in after} == {"other"}


def test_a_wait_of_no_time_is_none() -> None:
    documents = made(shop(), replace(CERT_MANAGER, wait=0))

    assert [each for each in leaves(documents) if "initContainers" in each] == []


def templates(tmp_path: Path, choices: Choices) -> list[Document]:
    """Return what pods are made from, with two clones and with three."""
    text = "name: z\npods: [{name: p, clones: %s, containers: [{name: c, image: i}]}]\n"
    made_of = [made(zone(tmp_path, text.replace("%s", count)), choices) for count in "23"]
    return [
        next(each for each in documents if each["kind"] == "StatefulSet")["spec"]["template"] for documents in made_of
    ]


def test_with_tickets_a_clone_more_starts_no_other_anew(tmp_path: Path) -> None:
    two, three = templates(tmp_path, TICKETS)

    assert two == three


def test_with_cert_manager_only_the_volume_with_all_credentials_starts_clones_anew(tmp_path: Path) -> None:
    two, three = templates(tmp_path, Choices("r", "t", directory="etcd://e:2379"))

    assert two != three
    for template in (two, three):
        volumes = template["spec"]["volumes"]
        template["spec"]["volumes"] = [each for each in volumes if each["name"] != "identity-0"]
    assert two == three


# ---- variables


def test_what_a_zone_file_says_is_not_filled_in_by_kubernetes(tmp_path: Path) -> None:
    spec = zone(
        tmp_path, "name: z\npods: [{name: p, containers: [{name: c, image: i, env: {A: 'x $(POD_IP) $$(B)'}}]}]\n"
    )

    documents = made(spec, Choices("r", "t", directory="etcd://e:2379"))

    assert leaves(documents)["StatefulSet/z-p.spec.template.spec.containers[c].env[A].value"] == "x $$(POD_IP) $$$(B)"


# ---- where etcd is


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        ("etcd://10.1.2.3:2379", [{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [2379]}]),
        ("etcds://[fd00::7]", [{"to": [{"ipBlock": {"cidr": "fd00::7/128"}}], "ports": [2379]}]),
        ("etcd://etcd:2379", [{"ports": [2379]}]),
        ("etcd://a:1,b:1,b:2", [{"ports": [1]}, {"ports": [2]}]),
        ("etcd://etcd-0.etcd.infra.svc.cluster.local:2379", [{"ports": [2379]}]),
        (
            "etcd://etcd.infra.svc:2379",
            [
                {
                    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "infra"}}}],
                    "ports": [2379],
                }
            ],
        ),
    ],
)
def test_pods_may_reach_etcd_and_as_little_else_as_can_be_said(url: str, rules: list[Document]) -> None:
    documents = made(shop(), replace(CERT_MANAGER, directory=url))

    policy = next(each for each in documents if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "shop"))
    found = [{**rule, "ports": [each["port"] for each in rule["ports"]]} for rule in policy["spec"]["egress"][2:]]
    assert found == rules


@pytest.mark.parametrize(
    "url", ["", "http://e:2379", "etcd://", "etcd://e:x", "etcd://e:2379,", "etcd://e f:1", "embedded:n"]
)
def test_what_is_no_etcd_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"etcd://HOST:PORT|HOST:PORT, with a port|plain text without blanks"):
        etcd_endpoints(url)


# ---- DNS in place of a directory

DNS = "dns://shop.shops.svc:4400"


def one_container_each(tmp_path: Path) -> ZoneSpec:
    """Return a zone whose pods have one container each, as DNS wants it."""
    return zone(
        tmp_path,
        "name: shop\npods:\n- {name: main-pod, containers: [{name: main, image: i}]}\n"
        "- {name: pool, clones: 3, containers: [{name: runner, image: i}]}\n",
    )


@BOTH
def test_a_service_leads_to_all_nodes_of_a_zone_that_finds_itself_by_dns(tmp_path: Path, choices: Choices) -> None:
    chosen = replace(choices, directory=DNS, directory_secret=None, ingress={})

    documents = made(one_container_each(tmp_path), chosen)

    services = {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "Service"}
    assert services["shop"]["clusterIP"] == "None"
    assert services["shop"]["publishNotReadyAddresses"]
    assert [each["port"] for each in services["shop"]["ports"]] == [4400]
    for pod in (each["spec"]["template"] for each in documents if each["kind"] == "StatefulSet"):
        assert services["shop"]["selector"].items() <= pod["metadata"]["labels"].items()
        ports = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
        assert ports[services["shop"]["ports"][0]["targetPort"]] == 4400
    assert problems(documents, GIVEN) == ["Service/shop: leads to no pod, or to several"]  # to all, as it must
    for document in documents:
        if not document["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_nodes_are_told_to_find_each_other_by_dns(tmp_path: Path) -> None:
    chosen = replace(CERT_MANAGER, directory=DNS, directory_secret=None, ingress={})

    documents = made(one_container_each(tmp_path), chosen)

    files = [each["data"] for each in documents if each["kind"] == "ConfigMap"]
    assert len(files) == 2
    assert all(f'"{DNS}"' in text for file in files for text in file.values())


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"directory": "dns://other.shops.svc:4400"}, "is dns://shop.shops.svc:4400 here, got 'dns://other"),
        ({"directory": "dns://shop.shops.svc:4401"}, "is dns://shop.shops.svc:4400 here"),
        ({"directory": "dns://shop.other.svc:4400"}, "is dns://shop.shops.svc:4400 here"),
        ({"directory": "dns://shop.other.svc:1", "namespace": None}, "is dns://shop.other.svc:4400 here"),
        ({"directory_secret": "s"}, "leave --directory-secret out"),
    ],
)
def test_a_name_that_does_not_lead_to_the_nodes_is_refused(
    tmp_path: Path, option: dict[str, Any], complaint: str
) -> None:
    chosen = replace(CERT_MANAGER, directory=DNS, directory_secret=None, ingress={})
    for right in (DNS, "dns://shop:4400", "dns://shop.shops.svc.cluster.local.:4400"):
        assert made(one_container_each(tmp_path), replace(chosen, directory=right))

    with pytest.raises(ValueError, match=complaint):
        made(one_container_each(tmp_path), replace(chosen, **option))


def test_dns_does_not_lead_to_several_containers_of_a_pod(tmp_path: Path) -> None:
    spec = zone(tmp_path, "name: z\npods: [{name: p, containers: [{name: a, image: i}, {name: b, image: i}]}]\n")

    with pytest.raises(ValueError, match=r"pod 'p' has 2 containers.* a pod of its own, or name an etcd"):
        made(spec, Choices("r", "t", directory="dns://z:4400"))


# ---- what cannot be


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ({"registry": "Acme"}, "registry 'Acme'"),
        ({"registry": ""}, "registry ''"),
        ({"tag": "a b"}, "tag 'a b' is none"),
        ({"cluster": "a.b"}, "cluster name 'a.b' is not allowed: write 1 to 10"),
        ({"namespace": "A"}, "namespace 'A'"),
        ({"ingress": {"main-pod": "shop.example:80"}}, "no host name"),
        ({"ingress": {"runner-pod": "a.example"}}, "public pods are main-pod"),
        ({"directory": None}, "--directory etcd://HOST:PORT"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_words(option: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        made(shop(), replace(CERT_MANAGER, **option))


def containers(count: int) -> str:
    return ", ".join(f"{{name: c{number}, image: i}}" for number in range(count))


@pytest.mark.parametrize(
    ("pods", "complaint"),
    [
        (f"{{name: {'p' * 46}, containers: [{containers(1)}]}}", "at most 52 can be: give it a shorter name"),
        ("{name: p, containers: [{name: c, image: i, env: {POD_IP: x}}]}", "POD_IP is set by the zone"),
        (
            "{name: a, public: true, containers: [{name: c, image: i}]}, "
            "{name: a-public, containers: [{name: d, image: i}]}",
            "two things would be the Service 'z-a-public'",
        ),
        (f"{{name: p, clones: 1000, containers: [{containers(5)}]}}", "a ConfigMap holds about a million"),
        (f"{{name: p, containers: [{containers(101)}]}}", "at most 100"),
    ],
)
def test_a_zone_that_cannot_be_on_kubernetes_is_refused_in_words(pods: str, complaint: str, tmp_path: Path) -> None:
    spec = zone(tmp_path, f"name: {'z' * 10 if 'ppp' in pods else 'z'}\npods: [{pods}]\n")

    with pytest.raises(ValueError, match=complaint):
        kubernetes_files(spec, Choices("r", "t", directory="etcd://e:2379"))


def test_an_image_that_no_registry_takes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images" / "Main").mkdir(parents=True)
    spec = zone(tmp_path, "name: z\npods: [{name: p, containers: [{name: c, image: Main}]}]\n")

    with pytest.raises(ValueError, match=r"image 'Main' cannot be in a registry: name its folder by a-z 0-9"):
        made(spec, TICKETS)


def test_with_tickets_the_authoritys_name_is_taken(tmp_path: Path) -> None:
    spec = zone(tmp_path, "name: z\npods: [{name: p, containers: [{name: authority, image: i}]}]\n")

    assert made(spec, Choices("r", "t", directory="etcd://e:2379"))
    with pytest.raises(ValueError, match="a container cannot be called 'authority'"):
        made(spec, TICKETS)
