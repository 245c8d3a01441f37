"""The zone whose manifests are kept in ``golden``, and what they are made from."""

from __future__ import annotations

from pathlib import Path

from autonomy._deploy.compose import compose_file
from autonomy._deploy.kubernetes import kubernetes_files, kustomization
from autonomy._deploy.manifests import Choices, Document
from autonomy._deploy.yaml_text import yaml_text
from autonomy._deploy.zone_file import read_cluster_zone
from autonomy._sansio.rights import Rights
from autonomy._sansio.shipment import CodePolicy
from autonomy._sansio.spec import ZoneSpec

GOLDEN = Path(__file__).parent / "golden"
ETCD = "etcds://etcd.infra.svc:2379,10.9.8.7:2380?ca=/etc/autonomy/directory/ca.crt"
CERT_MANAGER = Choices(
    registry="ghcr.io/acme/shop",
    tag="1.2.3",
    directory=ETCD,
    directory_secret="shop-etcd",
    namespace="shops",
    ingress={"main-pod": "shop.example.com"},
    rights=Rights(manage=("main*",), ship=("main*",)),
    code=CodePolicy("import", modules=["shop"]),
)
TICKETS = Choices(registry="ghcr.io/acme/shop", tag="1.2.3", identity="tickets")
GIVEN = {"shop-ca", "shop-keys", "shop-etcd", "shop-ticket"}
"""The Secrets that whoever runs the zone makes."""


def shop() -> ZoneSpec:
    """Return the zone."""
    return read_cluster_zone(GOLDEN / "shop")


def made(spec: ZoneSpec, choices: Choices) -> list[Document]:
    """Return all objects of a zone on Kubernetes."""
    return [document for documents in kubernetes_files(spec, choices).values() for document in documents]


def golden_files() -> dict[Path, str]:
    """Return what each file below ``golden`` should hold."""
    found = {}
    for name, choices in (("cert-manager", CERT_MANAGER), ("tickets", TICKETS)):
        files = kubernetes_files(shop(), choices)
        for file, documents in {"kustomization.yaml": [kustomization(files)], **files}.items():
            found[GOLDEN / name / file] = yaml_text(documents)
    found[GOLDEN / "compose" / "compose.yaml"] = yaml_text([compose_file(shop(), TICKETS, etcd=True)])
    return found
