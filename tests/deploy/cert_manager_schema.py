"""cert-manager's Issuer and Certificate, ``cert-manager.io/v1``, as strict JSON schemas: no unknown field passes.

Written by hand from the documentation of its API: the fields that its custom resources know, and, of those that no
manifest of ours uses, no more than that they are there.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "array", "items": TEXT}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"}
USAGES = [
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
]  # fmt: skip


def _closed(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _resource(kind: str, spec: Schema) -> Schema:
    labels: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
    metadata = _closed({"name": TEXT, "namespace": TEXT, "labels": labels, "annotations": labels}, "name")
    top = {
        "apiVersion": {"const": "cert-manager.io/v1"},
        "kind": {"const": kind},
        "metadata": metadata,
        "spec": spec,
    }
    return _closed(top, *top)


CERTIFICATE = _resource(
    "Certificate",
    _closed(
        {
            "secretName": TEXT,
            "issuerRef": _closed(
                {"name": TEXT, "kind": {"enum": ["Issuer", "ClusterIssuer"]}, "group": {"const": "cert-manager.io"}},
                "name",
            ),
            "uris": TEXTS,
            "dnsNames": TEXTS,
            "ipAddresses": TEXTS,
            "emailAddresses": TEXTS,
            "otherNames": {"type": "array"},
            "commonName": {"type": "string", "maxLength": 64},
            "literalSubject": TEXT,
            "subject": {"type": "object"},
            "isCA": {"type": "boolean"},
            "duration": DURATION,
            "renewBefore": DURATION,
            "renewBeforePercentage": {"type": "integer"},
            "usages": {"type": "array", "items": {"enum": USAGES}, "uniqueItems": True},
            "encodeUsagesInRequest": {"type": "boolean"},
            "privateKey": _closed(
                {
                    "algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]},
                    "encoding": {"enum": ["PKCS1", "PKCS8"]},
                    "rotationPolicy": {"enum": ["Never", "Always"]},
                    "size": {"enum": [256, 384, 521, 2048, 4096, 8192]},
                }
            ),
            "signatureAlgorithm": TEXT,
            "revisionHistoryLimit": {"type": "integer", "minimum": 1},
            "secretTemplate": _closed({"labels": {"type": "object"}, "annotations": {"type": "object"}}),
            "keystores": {"type": "object"},
            "additionalOutputFormats": {"type": "array"},
            "nameConstraints": {"type": "object"},
        },
        "secretName",
        "issuerRef",
    ),
)

ISSUER = _resource(
    "Issuer",
    {
        **_closed(
            {
                "ca": _closed(
                    {
                        "secretName": TEXT,
                        "crlDistributionPoints": TEXTS,
                        "ocspServers": TEXTS,
                        "issuingCertificateURLs": TEXTS,
                    },
                    "secretName",
                ),
                "selfSigned": {"type": "object"},
                "acme": {"type": "object"},
                "vault": {"type": "object"},
                "venafi": {"type": "object"},
            }
        ),
        "minProperties": 1,
        "maxProperties": 1,
    },
)

SCHEMAS = {"Issuer": ISSUER, "Certificate": CERTIFICATE}
