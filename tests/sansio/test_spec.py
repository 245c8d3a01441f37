"""Specifications and plans: which nodes a zone makes, and how they are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.spec import (
    MAIN_POD,
    ContainerSpec,
    PodSpec,
    ZoneSpec,
    container_name_problem,
    first_collision,
    plan_zone,
    pod_name_problem,
    variable_problem,
    zone_name_problem,
)
from autonomy._sansio.spiffe import check_identity_name

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
PODS = st.builds(
    PodSpec,
    NAMES,
    st.lists(st.builds(ContainerSpec, NAMES, NAMES), min_size=1, max_size=3).map(tuple),
    clones=st.none() | st.integers(1, 4),
)
ZONES = st.builds(
    ZoneSpec, st.just("shop"), st.lists(PODS, min_size=1, max_size=4, unique_by=lambda pod: pod.name).map(tuple)
)


def zone(*pods: PodSpec) -> ZoneSpec:
    """Return a zone of these pods."""
    return ZoneSpec("shop", pods)


def pod(name: str, *containers: str, clones: int | None = None) -> PodSpec:
    """Return a pod of containers with these names."""
    return PodSpec(name, tuple(ContainerSpec(each, "image") for each in containers), clones=clones)


def test_each_container_of_each_clone_is_one_node() -> None:
    spec = zone(pod(MAIN_POD, "main"), pod("runners", "runner", "helper", clones=2))

    plan = plan_zone(spec, cluster="local", deployment="1")

    assert [[node.full_name for node in each.nodes] for each in plan.pods] == [
        ["local-shop-main"],
        ["local-shop-runner-0", "local-shop-helper-0"],
        ["local-shop-runner-1", "local-shop-helper-1"],
    ]
    assert [each.index for each in plan.pods] == [None, 0, 1]
    assert [each.pod for each in plan.last] == [MAIN_POD]
    assert [each.pod for each in plan.first] == ["runners", "runners"]


def test_a_pod_with_one_clone_numbers_it() -> None:
    plan = plan_zone(zone(pod("runners", "runner", clones=1)), cluster="local", deployment="1")

    assert plan.pods[0].nodes[0].short_name == "runner-0"


@given(ZONES, st.text(max_size=8))
def test_full_names_of_pods_differ_and_stay(spec: ZoneSpec, deployment: str) -> None:
    plan = plan_zone(spec, cluster="local", deployment=deployment)

    names = [each.name for each in plan.pods]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(rf"{each.pod}-[a-z0-9]{{5,}}-[a-z0-9]{{5}}", each.name) for each in plan.pods)
    assert plan == plan_zone(spec, cluster="local", deployment=deployment)


@given(ZONES)
def test_two_containers_collide_if_and_only_if_the_plan_has_a_name_twice(spec: ZoneSpec) -> None:
    plan = plan_zone(spec, cluster="local", deployment="1")

    names = [node.full_name for each in plan.pods for node in each.nodes]
    collision = first_collision(spec)

    assert (collision is None) == (len(set(names)) == len(names))
    assert collision is None or names.count(f"local-shop-{collision[0]}") > 1


def test_a_number_can_collide_with_a_name() -> None:
    spec = zone(pod("a", "runner", clones=2), pod("b", "other", "runner-1"))

    assert first_collision(spec) == ("runner-1", (0, 0), (1, 1))


def test_the_directory_s_node_has_a_name_that_no_container_can_have_and_a_certificate_can() -> None:
    plan = plan_zone(zone(pod("a", "b")), cluster="local", deployment="1")

    assert check_identity_name(plan.authority) == "local-shop-zone_authority"
    assert container_name_problem("zone_authority")


@pytest.mark.parametrize("name", ["a", "0", "abcdefghij", "multinode"])
def test_a_zone_may_be_called(name: str) -> None:
    assert zone_name_problem(name) is None


@pytest.mark.parametrize("name", ["", "abcdefghijk", "a-b", "A", "é", "a\n"])
def test_a_zone_cannot_be_called(name: str) -> None:
    assert zone_name_problem(name) == f"zone name {name!r} is not allowed: write 1 to 10 of a-z 0-9"


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "1a", "a" * 64, "a\n"])
def test_pods_and_containers_cannot_be_called(name: str) -> None:
    assert pod_name_problem(name)
    assert container_name_problem(name)


@pytest.mark.parametrize("name", ["NODE", "ZONE", "CLUSTER", "AUTONOMY_NODE_FILE", "", "1A", "A B", "A=B"])
def test_a_zone_file_cannot_set(name: str) -> None:
    assert variable_problem(name)
