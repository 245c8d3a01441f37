"""``autonomy zone manifests``: what it prints, what it writes, and what it refuses in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from autonomy._cli.command import main
from autonomy._cli.manifests import MADE
from tests.deploy.manifest_zone import GOLDEN

SHOP = str(GOLDEN / "shop")
ON_KUBERNETES = ("--target", "kubernetes", "--registry", "ghcr.io/acme/shop", "--tag", "1.2.3")
ETCD = ("--directory", "etcd://etcd.infra.svc:2379")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["zone", "manifests", *words])


def test_objects_are_printed_and_secrets_to_make_are_told_beside_them() -> None:
    done = run(SHOP, *ON_KUBERNETES, *ETCD)

    assert done.exit_code == 0
    kinds = [each["kind"] for each in yaml.safe_load_all(done.stdout)]
    assert kinds.count("StatefulSet") == 2
    assert kinds.count("Certificate") == 7
    assert done.stderr.splitlines() == [
        "Secret to make: shop-ca: tls.crt and tls.key, the zone's CA",
        "Secret to make: shop-keys: api",
    ]


def test_a_folder_gets_what_kubectl_takes(tmp_path: Path) -> None:
    done = run(SHOP, *ON_KUBERNETES, *ETCD, "-o", str(tmp_path / "k8s"))

    assert (done.exit_code, done.stdout) == (0, "")
    listed = yaml.safe_load((tmp_path / "k8s" / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(each.name for each in (tmp_path / "k8s").iterdir())


def test_the_files_are_those_that_were_read_last(tmp_path: Path) -> None:
    run(
        SHOP, *ON_KUBERNETES, "-o", str(tmp_path),
        "--directory", "etcds://etcd.infra.svc:2379,10.9.8.7:2380?ca=/etc/autonomy/directory/ca.crt",
        "--directory-secret", "shop-etcd", "--namespace", "shops", "--ingress-host", "shop.example.com",
        "--manage", "main*", "--ship", "main*", "--module", "shop",
    )  # fmt: skip

    for path in (GOLDEN / "cert-manager").iterdir():
        assert (tmp_path / path.name).read_text() == MADE + path.read_text()


def test_they_are_made_anew_where_they_are(tmp_path: Path) -> None:
    run(SHOP, *ON_KUBERNETES, *ETCD, "-o", str(tmp_path))

    done = run(SHOP, *ON_KUBERNETES, *ETCD, "-o", str(tmp_path), "--cluster", "west")

    assert done.exit_code == 0
    assert "spiffe://shop/node/west-shop-main" in (tmp_path / "pod-main-pod.yaml").read_text()


def test_a_file_of_somebody_else_is_left_alone_and_so_is_all_else(tmp_path: Path) -> None:
    (tmp_path / "zone.yaml").write_text("mine\n")

    done = run(SHOP, *ON_KUBERNETES, *ETCD, "-o", str(tmp_path))

    assert done.exit_code == 1
    assert "zone.yaml' was not made by this command: name another folder" in done.stderr
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("zone.yaml", "mine\n")]


def test_compose_needs_no_registry(tmp_path: Path) -> None:
    done = run(SHOP, "--target", "compose", "--with-etcd", "-o", str(tmp_path))

    assert done.exit_code == 0
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    assert services["main"]["image"] == "shop/main:latest"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "missing option '--target'"),
        (("--target", "kubernetes"), "--registry and --tag say where Kubernetes finds the images: both are needed"),
        ((*ON_KUBERNETES,), "needs a directory: --directory etcd://HOST:PORT"),
        ((*ON_KUBERNETES, *ETCD, "--with-etcd"), "--with-etcd is for compose"),
        ((*ON_KUBERNETES, "--identity", "tickets", "--manage", "*"), "with tickets the zone's authority says"),
        ((*ON_KUBERNETES, *ETCD, "--ship", "main*"), "--ship needs --manage too"),
        ((*ON_KUBERNETES, *ETCD, "--ingress-host", "runner-pod=a.example"), "public pods are main-pod"),
        (
            (*ON_KUBERNETES, *ETCD, "--ingress-host", "a.b", "--ingress-host", "c.d"),
            "is given twice for pod 'main-pod'",
        ),
        ((*ON_KUBERNETES, "--directory", "etcd://u:hunter2@e:1"), "write ?user=NAME&password-file=PATH"),
        (("--target", "compose", "--identity", "cert-manager"), "needs a directory|with compose nodes come by tickets"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(words: tuple[str, ...], complaint: str) -> None:
    done = run(SHOP, *words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert any(each in " ".join(done.stderr.split()) for each in complaint.split("|"))
    assert "hunter2" not in done.stderr


def test_a_secret_in_the_open_is_refused_with_its_place(tmp_path: Path) -> None:
    shutil.copytree(SHOP, tmp_path / "shop")
    file = tmp_path / "shop" / "autonomy.yaml"
    file.write_text(file.read_text().replace("{secret: shop-keys, key: api}", "hunter2"))

    done = run(str(tmp_path / "shop"), *ON_KUBERNETES, *ETCD)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "autonomy.yaml:11:13: environment variable API_KEY is a secret by its name" in done.stderr
    assert "hunter2" not in done.stderr
