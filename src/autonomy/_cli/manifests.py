"""``autonomy zone manifests``: a zone for somebody else's machines, as text or as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from .._deploy.compose import compose_file
from .._deploy.kubernetes import kubernetes_files, kustomization, needed_secrets
from .._deploy.manifests import Choices, Identity
from .._deploy.yaml_text import yaml_text
from .._deploy.zone_file import read_cluster_zone
from .._sansio.rights import Rights
from .._sansio.shipment import CodeMode, CodePolicy
from .._sansio.spec import ZoneSpec
from .zone import folder_of

MADE: Final = "# Made by `autonomy zone manifests`, and made anew by it: put changes of your own elsewhere.\n"
_KUSTOMIZATION: Final = "kustomization.yaml"
_COMPOSE: Final = "compose.yaml"


@click.command()
@click.argument("path", default=".", type=click.Path(exists=True, path_type=Path))
@click.option("--target", type=click.Choice(["kubernetes", "compose"]), required=True, help="What is to run it.")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Write files into this folder.")
@click.option("--registry", metavar="PREFIX", help="Where images are: PREFIX/IMAGE:TAG.")
@click.option("--tag", metavar="TAG", help="Of the images.")
@click.option("--cluster", default="local", show_default=True, help="First part of the nodes' full names.")
@click.option(
    "--identity",
    type=click.Choice(["cert-manager", "tickets"]),
    help="Who certifies nodes: cert-manager (the default on Kubernetes), or an authority of the zone, for tickets.",
)
@click.option(
    "--directory",
    metavar="URL",
    help="The zone's directory: etcd://HOST:PORT[,HOST:PORT…], etcds://…, or on Kubernetes dns://ZONE.NAMESPACE.svc:4400.",
)
@click.option(
    "--directory-secret", metavar="NAME", help="Secret with files that URL names, below /etc/autonomy/directory."
)
@click.option("--namespace", metavar="NAME", help="Where the objects are to be.")
@click.option(
    "--public-port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Of HTTP in public pods."
)
@click.option("--ingress-host", "hosts", metavar="[POD=]HOST", multiple=True, help="Name of a public pod outside.")
@click.option("--base-image", metavar="IMAGE", help="What the authority runs; else PREFIX/autonomy:TAG.")
@click.option("--manage", metavar="PATTERN", multiple=True, help="Nodes that may start and stop workers elsewhere.")
@click.option("--ship", metavar="PATTERN", multiple=True, help="Nodes that may bring code along for them.")
@click.option(
    "--code",
    type=click.Choice(["never", "import", "source"]),
    help="Which code nodes take from those: none, what they have themselves (the default), or any.",
)
@click.option("--module", "modules", metavar="NAME", multiple=True, help="Top-level package to import such code from.")
@click.option(
    "--wait", default=120, show_default=True, type=click.IntRange(0), help="Seconds main-pod waits for others."
)
@click.option("--with-etcd", is_flag=True, help="Compose: run an etcd too, as the directory.")
def manifests(path: Path, target: str, output: Path | None, *, with_etcd: bool, **given: Any) -> None:
    """Write the zone that PATH describes as manifests: for Kubernetes, what kubectl apply takes, or a compose file.

    Without -o they are printed. Nothing is applied, and no secret is in them: what you must make yourself is told on
    stderr.
    """
    spec = read_cluster_zone(folder_of(path))
    choices = _choices(spec, target, **given)
    if target == "compose":
        document = compose_file(spec, choices, etcd=with_etcd)
        _put({_COMPOSE: [document]}, output)
        return
    if with_etcd:
        raise click.UsageError("--with-etcd is for compose: on Kubernetes, name one by --directory")
    files = kubernetes_files(spec, choices)
    if output is None:
        _put(files, None)
    else:
        _put({_KUSTOMIZATION: [kustomization(files)], **files}, output)
    for each in needed_secrets(spec, choices):
        click.echo(f"Secret to make: {each}", err=True)


def _choices(
    spec: ZoneSpec,
    target: str,
    *,
    registry: str | None,
    tag: str | None,
    identity: Identity | None,
    hosts: Iterable[str],
    manage: tuple[str, ...],
    ship: tuple[str, ...],
    code: CodeMode | None,
    modules: tuple[str, ...],
    **rest: Any,
) -> Choices:
    """Return what was chosen.

    Raises:
        click.UsageError: Options do not go together.
        ValueError: One of them cannot be.
    """
    on_kubernetes = target == "kubernetes"
    if on_kubernetes and (registry is None or tag is None):
        raise click.UsageError("--registry and --tag say where Kubernetes finds the images: both are needed")
    identity = identity or ("cert-manager" if on_kubernetes else "tickets")
    if identity == "tickets" and (manage or ship or code or modules):
        raise click.UsageError("with tickets the zone's authority says what nodes may do: see `autonomy zone init`")
    if ship and not manage:
        raise click.UsageError("who ships code starts workers with it: --ship needs --manage too")
    return Choices(
        registry=registry or spec.name,
        tag=tag or "latest",
        identity=identity,
        ingress=_ingress(spec, hosts),
        rights=Rights(manage=manage, ship=ship),
        code=CodePolicy(code or "import", modules=modules),
        **rest,
    )


def _ingress(spec: ZoneSpec, hosts: Iterable[str]) -> Mapping[str, str]:
    """Return which host name leads to which public pod."""
    public = [pod.name for pod in spec.pods if pod.public]
    found: dict[str, str] = {}
    for each in hosts:
        pod, equals, host = each.rpartition("=")
        if not equals and len(public) != 1:
            there = f"there are {', '.join(public)}" if public else "no pod is public"
            raise click.UsageError(f"--ingress-host {host}: which pod is meant? Write POD=HOST; {there}")
        pod = pod or public[0]
        if pod in found:
            raise click.UsageError(f"--ingress-host is given twice for pod {pod!r}: {found[pod]} and {host}")
        found[pod] = host
    return found


def _put(files: Mapping[str, list[dict[str, Any]]], folder: Path | None) -> None:
    """Print documents, or write them into files; those of somebody else are left alone."""
    if folder is None:
        click.echo(yaml_text(document for documents in files.values() for document in documents), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        path = folder / name
        if path.exists() and not path.read_text(errors="replace").startswith(MADE):
            raise click.ClickException(f"{str(path)!r} was not made by this command: name another folder")
    for name, documents in files.items():
        (folder / name).write_text(MADE + yaml_text(documents))
