"""What a deployed node is told by its file, and by its environment where the file cannot know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autonomy._zone.node_file import DeployedNode
from autonomy.identity import ZoneAuthority


@pytest.fixture
def node_file(tmp_path: Path) -> Path:
    authority = ZoneAuthority.create(tmp_path / "ca", "shop")
    authority.credentials("local-shop-main").save(tmp_path / "main")
    path = tmp_path / "main.json"
    file = {
        "name": "local-shop-main",
        "zone": "shop",
        "cluster": "local",
        "credentials": str(tmp_path / "main"),
        "directory": {"node": "local-shop-zone_authority", "address": "wss://127.0.0.1:7000"},
        "listen": "wss://127.0.0.1:1",
        "address": "wss://main.example:1",
    }
    path.write_text(json.dumps(file))
    return path


def test_a_node_listens_where_its_file_says(node_file: Path) -> None:
    deployed = DeployedNode(str(node_file))

    assert deployed.options["listen"] == "wss://127.0.0.1:1"
    assert deployed.options["zone"].address == "wss://main.example:1"


def test_its_environment_is_stronger(node_file: Path) -> None:
    deployed = DeployedNode(str(node_file), listen="wss://[10.0.0.7]:4400", address="wss://[10.0.0.8]:4400")

    assert deployed.options["listen"] == "wss://[10.0.0.7]:4400"
    assert deployed.options["zone"].address == "wss://[10.0.0.8]:4400"


def test_a_list_of_what_was_revoked_is_wanted_unless_the_file_says_otherwise(node_file: Path) -> None:
    before = DeployedNode(str(node_file)).options["credentials"].trust.revocation

    told = json.loads(node_file.read_text()) | {"revocation": "lifetime"}
    node_file.write_text(json.dumps(told))

    assert before == "crl"
    with pytest.raises(Exception, match="is valid for 1 day, 0:05:00, at most 1:05:00 are allowed"):
        DeployedNode(str(node_file))


def test_another_kind_of_revocation_is_refused(node_file: Path) -> None:
    told = json.loads(node_file.read_text()) | {"revocation": "never"}
    node_file.write_text(json.dumps(told))

    with pytest.raises(ValueError, match=r"AUTONOMY_NODE_FILE: .*main\.json: Invalid enum value 'never'"):
        DeployedNode(str(node_file))
