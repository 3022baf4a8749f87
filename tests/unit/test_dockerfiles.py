"""What every image of ours keeps to: non-root, small, from a mirror as well as from the open internet."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = sorted(
    path for folder in ("operator", "trainer", "serving") for path in (ROOT / folder).glob("**/Dockerfile*")
)


def instructions(text: str) -> list[tuple[str, str]]:
    """Returns a Dockerfile's instructions: word and rest, with lines joined and comments gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def problems(text: str) -> list[str]:
    """Returns what is wrong with a Dockerfile."""
    steps = instructions(text)
    stages = [index for index, (word, _) in enumerate(steps) if word == "FROM"]
    found = [*_of_steps(steps), *_of_bases(steps, stages), *_of_the_result(steps[stages[-1] :])]
    if re.search(r"https?://", text):
        found.append("an address is named: hosts come by build argument")
    if len(stages) < 2:
        found.append("there is one stage only: build tools stay in the image")
    return found


def _of_steps(steps: list[tuple[str, str]]) -> list[str]:
    found = []
    for word, rest in steps:
        if word == "ADD":
            found.append(f"ADD {rest}: it fetches and unpacks; COPY does not")
        if word == "RUN" and re.search(r"(curl|wget)\b.*\|\s*(ba)?sh\b", rest):
            found.append(f"RUN {rest}: it runs what it fetches")
        if word in {"ARG", "ENV"} and re.search(r"(TOKEN|PASSWORD|SECRET)", rest):
            found.append(f"{word} {rest}: a secret would stay in the image")
    return found


def _of_bases(steps: list[tuple[str, str]], stages: list[int]) -> list[str]:
    bases = [steps[index][1] for index in stages]
    names = {base.split()[-1] for base in bases if " AS " in base.upper()}
    found = [
        f"FROM {base}: the base is no build argument"
        for base in bases
        if not base.startswith("${") and base.split()[0] not in names
    ]
    for default in (rest.partition("=")[2] for word, rest in steps[: stages[0]] if word == "ARG"):
        image, _, tag = default.partition(":")
        if not default.startswith("${") and ("/" in image or tag in {"", "latest"}):
            found.append(f"{default}: a base image is named plainly, with its tag")
    return found


def _of_the_result(steps: list[tuple[str, str]]) -> list[str]:
    found = []
    users = [rest for word, rest in steps if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        # By number: kubelet cannot tell that a name is not root.
        found.append("the last stage's user is not a number other than 0")
    if any(word == "ARG" for word, _ in steps):
        found.append("the last stage has build arguments: they stay in its history")
    if any(word == "RUN" and re.search(r"\b(pip|uv|apt-get|gcc)\b", rest) for word, rest in steps):
        found.append("the last stage installs something")
    return found


def test_there_are_images() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in DOCKERFILES] == [
        "operator/Dockerfile",
        "trainer/Dockerfile",
    ]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfile(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("USER 1000:1000", "USER anneal"), "user is not a number"),
        (("USER 1000:1000", "USER 0:0"), "user is not a number"),
        (("USER 1000:1000\n", ""), "user is not a number"),
        (("python:3.11-slim", "python"), "with its tag"),
        (("python:3.11-slim", "python:latest"), "with its tag"),
        (("python:3.11-slim", "registry.example.com/python:3.11"), "named plainly"),
        (("FROM ${BASE_IMAGE}\n", "FROM python:3.11\n"), "no build argument"),
        (("USER 1000:1000", "RUN curl -s x | sh\nUSER 1000:1000"), "runs what it fetches"),
        (("USER 1000:1000", "RUN pip install x\nUSER 1000:1000"), "installs something"),
        (("USER 1000:1000", "ARG PIP_INDEX_URL\nUSER 1000:1000"), "stay in its history"),
        (("USER 1000:1000", "ADD x /x\nUSER 1000:1000"), "COPY does not"),
        (("ARG PIP_INDEX_URL=", "ARG PIP_INDEX_URL=https://example.com"), "an address is named"),
        (("ARG PIP_INDEX_URL=", "ARG HUB_TOKEN="), "a secret"),
    ],
    ids=lambda value: value[1].strip() if isinstance(value, tuple) else "",
)
def test_check_finds(edit: tuple[str, str], said: str) -> None:
    text = (ROOT / "operator" / "Dockerfile").read_text()
    assert edit[0] in text
    assert any(said in problem for problem in problems(text.replace(*edit)))


def test_operator_image_takes_its_own_extra_only() -> None:
    text = (ROOT / "operator" / "Dockerfile").read_text()
    assert re.findall(r"--extra (\w+)", text) == ["operator"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["operator"]
    assert not [line for line in needed if re.match(r"(torch|ray|transformers|onnx|datasets)\b", line)]


def test_both_images_run_as_the_user_that_pods_ask_for() -> None:
    from anneal_operator.resources.places import HOME
    from anneal_operator.resources.pods import USER

    for path in DOCKERFILES:
        steps = instructions(path.read_text())
        assert ("USER", f"{USER}:{USER}") in steps
        assert ("WORKDIR", HOME) in steps


def test_build_context_is_a_list_of_what_goes_in() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = set()
    for path in DOCKERFILES:
        for word, rest in instructions(path.read_text()):
            if word == "COPY" and not rest.startswith("--from"):
                copied |= set(rest.split()[:-1])
    assert copied == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
