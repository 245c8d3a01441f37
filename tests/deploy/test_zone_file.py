"""Zone files: what they may say, and how they complain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._deploy.strict_yaml import parse_yaml
from autonomy._deploy.zone_file import read_cluster_zone, read_zone_file, read_zone_folder
from autonomy._sansio.spec import ContainerSpec, PodSpec, SecretVariable, ZoneSpec
from autonomy.errors import ZoneFileError

GOOD = """\
name: shop
pods:
  - name: main-pod
    size: big
    public: true
    containers:
      - name: main
        image: main
        env:
          - GREETING: hello
          - WHEN: 12:30:45
  - name: runners
    clones: 3
    containers:
      - name: runner
        image: runner
        env: {ANSWER: no, VERSION: 1.10, EMPTY: ""}
"""
DOCKERFILE = 'FROM base\nCOPY . .\nENTRYPOINT ["python", "main.py"]\n'


def in_pod(lines: str) -> str:
    """Return a zone file with these lines in its only pod, from line 3 on."""
    return "name: shop\npods:\n" + "".join(
        f"{'  - ' if not n else '    '}{line}\n" for n, line in enumerate(lines.split("\n"))
    )


def in_container(lines: str) -> str:
    """Return a zone file with these lines in its only container, from line 5 on."""
    parts = lines.split("\n")
    return in_pod(
        "name: a\ncontainers:\n" + "\n".join(f"{'  - ' if not n else '    '}{line}" for n, line in enumerate(parts))
    )


def in_whole_pod(line: str) -> str:
    """Return a zone file whose only pod is as it should be but for line 4."""
    return in_pod(f"name: a\n{line}\ncontainers: [{{name: b, image: c}}]")


def in_good(line: str) -> str:
    """Return a zone file whose only container is as it should be but for line 7."""
    return in_container(f"name: b\nimage: c\n{line}")


def complaint(path: Path, text: str | bytes) -> str:
    """Return what is said about a zone file, without its path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ZoneFileError) as caught:
        read_zone_file(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a zone file may be written."""
    return tmp_path / "autonomy.yaml"


def test_a_zone_file_says_what_is_wanted(path: Path) -> None:
    path.write_text(GOOD)

    spec = read_zone_file(path)

    main = ContainerSpec("main", "main", (("GREETING", "hello"), ("WHEN", "12:30:45")))
    runner = ContainerSpec("runner", "runner", (("ANSWER", "no"), ("VERSION", "1.10"), ("EMPTY", "")))
    assert spec == ZoneSpec(
        "shop", (PodSpec("main-pod", (main,), size="big", public=True), PodSpec("runners", (runner,), clones=3))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "FILE:1:1: the file is empty: a zone file has the keys name and pods"),
        ("name: shop", "FILE:1:1: a zone file needs the key 'pods'"),
        ("- a", "FILE:1:1: a zone file must be a mapping with the keys name, pods, got a list"),
        (
            "name: shop\npods: []",
            "FILE:2:7: pods must be a list with something in it, such as '- name: main-pod', got an empty list",
        ),
        ("name: Shop\npods: [a]", "FILE:1:7: zone name 'Shop' is not allowed: write 1 to 10 of a-z 0-9"),
        ("name: shop\nname: shop\npods: 1", "FILE:2:1: key 'name' is here twice, first at FILE:1:1"),
        ("name: shop\npodz: 1", "FILE:2:1: a zone file has no key 'podz': write name, pods"),
        ("name:\npods: 1", "FILE:1:6: the zone's name must be a text, got nothing"),
        ("a: &x [1]\nb: *x", "FILE:1:4: anchors and aliases (& and *) are not allowed: write it out"),
        ("a: !!python/name:os.system x", "FILE:1:4: tags (such as !!str) are not allowed: write the value alone"),
        ("name: [", "FILE:1:8: this is not YAML: "),
        (
            "name: shop\n\tpods: 1",
            "FILE:2:1: this is not YAML: found character '\\t' that cannot start any token; indent with spaces",
        ),
        ("name: a\n---\nname: b", "FILE:2:1: this is not YAML: but found another document; write one, without"),
        ('name: "shop\npods: 1\n', "FILE:1:7: this is not YAML: quoted scalar without an end; close the quote that"),
        ("name shop\npods: 1\n", "FILE:2:5: this is not YAML: mapping values are not allowed here; write each key"),
        ("a:\n  - b: 1\n   c: 2\n", "FILE:3:4: this is not YAML: expected <block end>, but found '<block mapping"),
        ("a:\n  - b: 1\n  c: 2\n", "FILE:3:3: this is not YAML: expected <block end>, but found '?'; begin what"),
        ("name: @x", "FILE:1:7: this is not YAML: found character '@' that cannot start any token; put a text"),
        ("pods: - a", "FILE:1:7: this is not YAML: sequence entries are not allowed here; begin a list on the line"),
        ("pods: {a: 1", "FILE:1:12: this is not YAML: expected ',' or '}', but got '<stream end>'; close the bracket"),
        ("name: \x07", "FILE:1:7: character '\\x07' is not allowed in YAML"),
        (b"name: shop\nx: \xff", "FILE:2:4: this is not UTF-8 text: save the file as UTF-8"),
        ("a: " + "[" * 3000, "FILE:1:35: this is nested more than 32 deep"),
        ("? [a]\n: b", "FILE:1:3: a key must be a text"),
        ("#" * 70_000, "FILE:1:1: 'FILE' has more than 64 KiB, which is the most that is read"),
    ],
)
def test_what_is_no_zone_file_is_refused_with_its_place(path: Path, text: str | bytes, said: str) -> None:
    assert complaint(path, text).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (in_pod("name: a"), ":3:5: pod 'a' needs the key 'containers'"),
        (in_pod("size: big"), ":3:5: a pod needs the key 'name'"),
        (in_whole_pod("size: huge"), ":4:11: size must be small or big, got 'huge'"),
        (in_whole_pod("public: yes"), ":4:13: public must be true or false, got 'yes'"),
        (in_whole_pod('public: "true"'), ":4:13: public must be true or false"),
        (in_whole_pod("clones: 0"), ":4:13: clones must be a whole number from 1 to"),
        (in_whole_pod("clones: 1e3"), ":4:13: clones must be a whole number"),
        (in_whole_pod("clones: 0x10"), ":4:13: clones must be a whole number"),
        (in_pod("name: a\ncolour: red"), ":4:5: a pod has no key 'colour': write name, size, public"),
        (in_container("name: b"), ":5:9: container 'b' needs the key 'image'"),
        (in_container("name: B\nimage: c"), ":5:15: container name 'B' is not allowed"),
        (in_container("name: b\nimage: ../c"), ":6:16: image '../c' is not the name of a folder"),
        (in_container("name: b\nimage: /etc"), ":6:16: image '/etc' is not the name of a folder"),
        (in_container("name: b\nimage: ghcr.io/x/y"), ":6:16: image 'ghcr.io/x/y' is not the name of a folder"),
        (in_good("ports: [1]"), ":7:9: a container has no key 'ports': write name, image, env"),
        (in_good("env: [A]"), ":7:15: env of container 'b' must be a mapping, or a list"),
        (in_good("env: [{A: 1, B: 2}]"), ":7:15: env of container 'b' must be a mapping"),
        (in_good("env: [A: 1, A: 2]"), ":7:21: environment variable A is here twice, first at "),
        (in_good("env: {A: [1]}"), ":7:18: environment variable A must be set to a text"),
        (in_good("env: {A: }"), ':7:17: environment variable A must be set to a text; write ""'),
        (in_good("env: {NODE: x}"), ":7:15: environment variable NODE says who a node is"),
    ],
)
def test_what_a_pod_cannot_be_is_refused_with_its_place(path: Path, text: str, said: str) -> None:
    assert complaint(path, text).startswith(f"FILE{said}")


def test_two_containers_that_would_make_one_node_are_refused_with_both_places(path: Path) -> None:
    text = "name: shop\npods:\n"
    text += "  - {name: a, clones: 2, containers: [{name: runner, image: c}]}\n"
    text += "  - {name: b, containers: [{name: runner-1, image: c}]}\n"

    assert complaint(path, text) == (
        "FILE:4:28: two containers would make a node named 'runner-1': this one and the one at FILE:3:39. "
        "Give one of them another name."
    )


def test_two_pods_of_one_name_are_refused(path: Path) -> None:
    text = "name: shop\npods:\n"
    text += "  - {name: a, containers: [{name: b, image: c}]}\n"
    text += "  - {name: a, containers: [{name: d, image: c}]}\n"

    assert complaint(path, text) == "FILE:4:5: pod 'a' is here twice, first at FILE:3:5"


def test_a_zone_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name in ("nothing", "pipe", "."):
        with pytest.raises(ZoneFileError, match=r"cannot be read|is not a plain file"):
            read_zone_file(tmp_path / name)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t0~", max_size=60) | st.text(max_size=30))
def test_any_text_is_a_value_or_a_complaint_about_a_place_in_it(text: str) -> None:
    error = None
    try:
        parse_yaml(text, "f")
    except ZoneFileError as raised:
        error = raised

    assert error is None or 1 <= error.line <= text.count("\n") + len(text.splitlines()) + 1
    assert error is None or error.column >= 1


# ---- the folder


def make_zone(folder: Path, *images: str) -> Path:
    """Make a zone's folder with these images; return it."""
    (folder / "autonomy.yaml").write_text(GOOD)
    (folder / "images").mkdir()
    for name in images:
        (folder / "images" / name).mkdir()
        (folder / "images" / name / "Dockerfile").write_text(DOCKERFILE)
    return folder


def test_a_zone_s_folder_says_what_its_images_are(tmp_path: Path) -> None:
    folder = make_zone(tmp_path, "main", "runner")

    zone = read_zone_folder(folder)

    assert sorted(zone.images) == ["main", "runner"]
    assert zone.images["runner"].folder == tmp_path / "images" / "runner"
    assert zone.images["runner"].recipe.argv == ("python", "main.py")


def test_an_image_that_is_not_there_is_a_complaint_about_where_it_is_named(tmp_path: Path) -> None:
    folder = make_zone(tmp_path, "main")

    with pytest.raises(
        ZoneFileError, match=r"yaml:16:16: image 'runner' has no folder 'images/runner'.*there are main$"
    ):
        read_zone_folder(folder)


def test_an_image_without_dockerfile_is_a_complaint_about_where_it_is_named(tmp_path: Path) -> None:
    folder = make_zone(tmp_path, "main", "runner")
    (folder / "images" / "main" / "Dockerfile").unlink()

    with pytest.raises(ZoneFileError, match=r"yaml:8:16: image 'main' has no Dockerfile"):
        read_zone_folder(folder)


def test_a_dockerfile_that_copies_what_is_not_there_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = make_zone(tmp_path, "main", "runner")
    dockerfile = folder / "images" / "runner" / "Dockerfile"
    dockerfile.write_text(DOCKERFILE.replace("COPY", "COPY Dockerfile words/list.txt ./\nCOPY"))

    with pytest.raises(ZoneFileError, match=r"Dockerfile:2:1: COPY words/list.txt: there is nothing of that name"):
        read_zone_folder(folder)
    (dockerfile.parent / "words").mkdir()
    (dockerfile.parent / "words" / "list.txt").touch()

    assert "words/list.txt" in read_zone_folder(folder).images["runner"].recipe.copies[0].sources


def test_an_image_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zone").mkdir()
    folder = make_zone(tmp_path / "zone", "main")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "Dockerfile").write_text(DOCKERFILE)
    (folder / "images" / "runner").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ZoneFileError, match=r"yaml:16:16: image 'runner': 'images/runner' leads out of the folder"):
        read_zone_folder(folder)


# ---- secrets


SECRET = "env: [{API_KEY: {secret: shop-keys, key: api}}, {GREETING: hello}]"


def zone_with(tmp_path: Path, env: str) -> Path:
    """Make a zone's folder whose only container has this line."""
    (tmp_path / "images" / "c").mkdir(parents=True)
    (tmp_path / "images" / "c" / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "autonomy.yaml").write_text(in_good(env))
    return tmp_path


def test_a_variable_may_be_kept_in_a_secret(tmp_path: Path) -> None:
    spec = read_cluster_zone(zone_with(tmp_path, SECRET))

    container = spec.pods[0].containers[0]
    assert container.env == (("GREETING", "hello"),)
    assert container.secrets == (SecretVariable("API_KEY", "shop-keys", "api"),)


def test_on_one_machine_a_secret_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ZoneFileError, match=r":7:25: there are no Secrets on one machine: .* Set the variable there"):
        read_zone_folder(zone_with(tmp_path, SECRET))


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ("API_KEY: {secret: a}", "needs the key 'key'"),
        ("API_KEY: {secret: a, key: b, other: c}", "has no key 'other'"),
        ("API_KEY: {secret: A, key: b}", "secret 'A' is not allowed"),
        ("API_KEY: {secret: a, key: 'b c'}", "key 'b c' is not allowed"),
        ("API_KEY: [a]", "must be set to a text"),
        ("NODE: {secret: a, key: b}", "NODE says who a node is"),
    ],
)
def test_a_reference_to_a_secret_that_cannot_be_is_refused(env: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ZoneFileError, match=f":7:.*{complaint}"):
        read_cluster_zone(zone_with(tmp_path, f"env: {{{env}}}"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "x"), ("GITHUB_TOKEN", "x"), ("DB_PASSWORD", "x"), ("SECRET", "x"), ("my_secret", "x"),
        ("DATABASE", "postgres://shop:hunter2@db/shop"), ("PROXY", "see http://a:b@c"),
    ],
)  # fmt: skip
def test_a_secret_in_the_open_is_refused_for_other_machines_and_not_repeated(
    name: str, value: str, tmp_path: Path
) -> None:
    folder = zone_with(tmp_path, f"env: {{{name}: '{value}'}}")

    with pytest.raises(ZoneFileError, match=rf":7:\d+: .*{name}.*{name}: {{secret: NAME, key: KEY}}") as caught:
        read_cluster_zone(folder)

    assert value == "x" or value not in str(caught.value)
    assert read_zone_folder(folder).spec.pods[0].containers[0].env == ((name, value),)


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEYBOARD", "de"), ("MONKEY", "x"), ("TOKENS", "8"), ("URL", "https://a:80/b@c"), ("KEY_ID", "1")],
)
def test_what_is_no_secret_may_stand_in_the_open(name: str, value: str, tmp_path: Path) -> None:
    spec = read_cluster_zone(zone_with(tmp_path, f"env: {{{name}: '{value}'}}"))

    assert spec.pods[0].containers[0].env == ((name, value),)


def test_for_other_machines_a_dockerfile_may_say_what_it_likes(tmp_path: Path) -> None:
    folder = zone_with(tmp_path, "env: {A: b}")
    (folder / "images" / "c" / "Dockerfile").write_text("FROM base\nRUN make\n")

    assert read_cluster_zone(folder).name == "shop"


def test_for_other_machines_an_image_needs_its_folder_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "autonomy.yaml").write_text(in_good("env: {A: b}"))

    with pytest.raises(ZoneFileError, match="image 'c' has no folder"):
        read_cluster_zone(tmp_path)
