"""A cluster of one machine, that does with manifests what Kubernetes and cert-manager would: as much as nodes notice.

Certificates are issued as cert-manager's CA issuer does it (pkg/util/pki): from now on, without a subject, without an
id of the leaf's key. Volumes are written as kubelet does: root's, for the pod's group, exchanged by one rename. Each
pod has an address of its own in the loopback, so that its ports are those of the manifests. Not there: containers, DNS,
policies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from autonomy.identity.issuing import Signer
from autonomy.identity.pem import read_certificates, read_keys

Document = dict[str, Any]
Secret = dict[str, bytes]


class CertManager:
    """The CA issuer, over the folder of a zone's CA."""

    def __init__(self, folder: Path) -> None:
        key, certificate = (folder / "ca.key").read_bytes(), (folder / "ca.crt").read_bytes()
        self.signer = Signer(read_keys(key, "")[0], read_certificates(certificate, "")[0])

    def secret(self, document: Document) -> Secret:
        """Return what the Secret of a Certificate holds; the key is a new one."""
        spec = document["spec"]
        assert spec["duration"] == "1h"
        assert spec["usages"] == ["digital signature", "server auth", "client auth"]
        key = ec.generate_private_key(ec.SECP256R1())
        return {
            "tls.crt": self.issue(key, spec["uris"]).public_bytes(Encoding.PEM),
            "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "ca.crt": self.signer.certificate.public_bytes(Encoding.PEM),
        }

    def issue(self, key: ec.EllipticCurvePrivateKey, uris: list[str]) -> x509.Certificate:
        now = datetime.now(UTC).replace(microsecond=0)
        unused = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
             "crl_sign", "encipher_only", "decipher_only"),
            False,
        )  # fmt: skip
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.signer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.KeyUsage(digital_signature=True, **unused), critical=True)
            .add_extension(both, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(self.signer.issuer_id, critical=False)
            .add_extension(names, critical=True)
        )
        return builder.sign(self.signer.key, hashes.SHA256())


class Cluster:
    """Runs the pods of a zone.

    Args:
        folder: Where volumes are; open to all users.
        documents: The manifests.
        images: The folders of images.
        issuer: Makes certificates.
        directory: Where the directory really is, for node files.
    """

    def __init__(
        self, folder: Path, documents: list[Document], images: Path, issuer: CertManager, directory: Document
    ) -> None:
        self.folder, self._documents, self._images = folder, documents, images
        self._issuer, self._directory = issuer, directory
        self.secrets = {each["spec"]["secretName"]: issuer.secret(each) for each in self._of("Certificate")}
        self._as_user = as_user(self._of("StatefulSet")[0]["spec"]["template"]["spec"]["securityContext"]["runAsUser"])

    def start(self, name: str, index: int, address: str) -> subprocess.Popen[str]:
        """Start the first container of a clone of a pod."""
        stateful_set = next(each for each in self._of("StatefulSet") if each["metadata"]["name"] == name)
        pod = stateful_set["spec"]["template"]["spec"]
        container = pod["containers"][0]
        fields = {"metadata.name": f"{name}-{index}", "status.podIP": address}
        variables = self._environment(container, fields)
        for mount in container["volumeMounts"]:
            volume = next(each for each in pod["volumes"] if each["name"] == mount["name"])
            place = self.place(name, index) / mount["name"]
            self.mount(volume, place)
            variables = {key: value.replace(mount["mountPath"], str(place)) for key, value in variables.items()}
            self._rewrite(place, pod, container, self.place(name, index))
        image = container["image"].rpartition("/")[2].partition(":")[0]
        return self._run(self._images / image, variables)

    def place(self, name: str, index: int) -> Path:
        """Return where the volumes of a pod are."""
        return self.folder / f"{name}-{index}"

    def renew(self, name: str, index: int) -> None:
        """Have cert-manager make new certificates, and kubelet bring them into a pod."""
        self.secrets = {each["spec"]["secretName"]: self._issuer.secret(each) for each in self._of("Certificate")}
        stateful_set = next(each for each in self._of("StatefulSet") if each["metadata"]["name"] == name)
        pod = stateful_set["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if "projected" in volume:
                self.mount(volume, self.place(name, index) / volume["name"])

    def mount(self, volume: Document, place: Path) -> None:
        """Write a volume, or write it anew."""
        files: dict[str, bytes] = {}
        if "configMap" in volume:
            data = next(
                x["data"] for x in self._of("ConfigMap") if x["metadata"]["name"] == volume["configMap"]["name"]
            )
            files = {name: text.encode() for name, text in data.items()}
        for source in volume.get("projected", {}).get("sources", []):
            secret = self.secrets[source["secret"]["name"]]
            files |= {item["path"]: secret[item["key"]] for item in source["secret"]["items"]}
        mode = volume.get("projected", {}).get("defaultMode", 0o644)
        write_volume(place, files, mode, group=int(self._as_user[-1]) if self._as_user else os.getegid())

    # ---- within

    def _of(self, kind: str) -> list[Document]:
        return [each for each in self._documents if each["kind"] == kind]

    def _environment(self, container: Document, fields: dict[str, str]) -> dict[str, str]:
        known: dict[str, str] = {}
        for variable in container["env"]:
            if "value" in variable:
                filled = re.sub(r"(?<!\$)\$\((\w+)\)", lambda match: known[match[1]], variable["value"])
                known[variable["name"]] = filled.replace("$$(", "$(")
            else:
                known[variable["name"]] = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        return known

    def _rewrite(self, place: Path, pod: Document, container: Document, volumes: Path) -> None:
        """Say in node files where volumes really are, and the directory."""
        for path in place.glob("..data/*.json"):
            file = json.loads(path.read_text()) | {"directory": self._directory}
            for mount in container["volumeMounts"]:
                file["credentials"] = file["credentials"].replace(mount["mountPath"], str(volumes / mount["name"]))
            path.write_text(json.dumps(file))

    def _run(self, folder: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AUTONOMY_")}
        kept |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [*self._as_user, sys.executable, "main.py"],
            cwd=folder,
            env=kept | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def as_user(user: int) -> list[str]:
    """Return what runs a program as another user and group; nothing where that cannot be, or has no such Python."""
    words = ["setpriv", "--reuid", str(user), "--regid", str(user), "--groups", str(user)]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    tried = subprocess.run([*words, sys.executable, "-c", "import autonomy"], capture_output=True, timeout=60)
    return words if tried.returncode == 0 else []


def write_volume(place: Path, files: dict[str, bytes], mode: int, *, group: int) -> None:
    """Write a volume as kubelet does: a new folder, and one rename that lets ``..data`` lead to it."""
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    moment = place / f"..moment_{len(list(place.glob('..moment_*')))}"
    moment.mkdir(mode=0o755)
    for name, content in files.items():
        path = moment / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(content)
        if os.geteuid() == 0:
            os.chown(path, 0, group)
        path.chmod(mode)
        visible = place / Path(name).parts[0]
        if not visible.is_symlink():
            visible.symlink_to(Path("..data") / visible.name)
    (place / "..data_tmp").symlink_to(moment.name)
    (place / "..data_tmp").rename(place / "..data")
