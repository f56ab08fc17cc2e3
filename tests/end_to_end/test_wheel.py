"""The wheel, installed as users do: what it adds, what each extra brings, and the message if an extra is missing."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {"dqn_models", "dqn_experience", "dqn_training", "dqn_serving", "dqn_client"}
COMMANDS = {
    "dqn-models": "models",
    "dqn-experience": "experience",
    "dqn-serve": "serve",
    "dqn-train": "train",
    "dqn-evaluate": "train",
    "dqn-retrain": "train",
    "dqn-tune": "train",
    "dqn-compare": "train",
}
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


class Installation:
    """A fresh environment with the wheel, whose other packages are links to those of the environment of the tests."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        """Creates the environment."""
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        self.bin = folder / "bin"
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        self.before = {path.name for path in self.site.iterdir()}
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--no-deps", "--quiet"]
        subprocess.run([*pip, "--no-index", str(wheel)], check=True, timeout=60)
        self.added = {path.name for path in self.site.iterdir()} - self.before

    def bring(self, *requirements: str) -> None:
        """Makes the packages of these requirements, and their dependencies, importable here; no others."""
        for name in closure(requirements):
            for top in top_levels(distribution(name)):
                if not (self.site / top.name).exists():
                    (self.site / top.name).symlink_to(top)

    def take_away(self) -> None:
        """Removes everything but the wheel."""
        for path in self.site.iterdir():
            if path.is_symlink():
                path.unlink()

    def run(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command of this environment, without PYTHON variables, outside the project."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        return subprocess.run(
            [str(self.bin / command), *arguments],
            cwd=self.site.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def closure(requirements: tuple[str, ...]) -> set[str]:
    """Names of all distributions that these requirements install, from the metadata of the installed ones."""
    found: set[str] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, of_extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "dqn-policy-server":
                waiting += [(Requirement(text), "") for text in EXTRAS.get(extra, [])]
                continue
            found.add(name)
            waiting += [(Requirement(text), extra) for text in distribution(name).requires or []]
    return found


def top_levels(package: Distribution) -> set[Path]:
    """What a distribution adds to site-packages, with its metadata."""
    names = {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(package.locate_file(name))) for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(pip, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installation:
    """One environment for all tests here, which only add packages to it."""
    return Installation(tmp_path_factory.mktemp("installation") / "venv", wheel)


@pytest.fixture
def bare(installation: Installation) -> Iterator[Installation]:
    """The wheel without any extra."""
    yield installation
    installation.take_away()


def test_the_wheel_adds_four_packages_and_nothing_else(bare: Installation, wheel: Path) -> None:
    """Installed, the wheel adds exactly the project's packages, whose names no user's project has."""
    metadata = {name for name in bare.added if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert bare.added - metadata == PACKAGES
    assert {path.name for path in bare.bin.glob("dqn-*")} == set(COMMANDS)
    assert all(Path(name).suffix != ".onnx" for name in zipfile.ZipFile(wheel).namelist())


def test_a_command_without_its_extra_says_which_to_install(bare: Installation) -> None:
    """With the bare wheel each command exits with 2 and one sentence with the remedy."""
    for command, extra in COMMANDS.items():
        done = bare.run(command, "--help")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: {command} needs the extra '{extra}', whose package numpy is not installed: "
            f"pip install 'dqn-policy-server[{extra}]'.\n"
        )


def test_the_client_without_its_extra_says_so(bare: Installation) -> None:
    """Importing dqn_client without its packages names the extra."""
    done = bare.run("python", "-c", "import dqn_client")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: dqn_client needs the extra 'client', whose package httpx is not installed: "
        "pip install 'dqn-policy-server[client]'."
    )


@pytest.mark.parametrize("extra", ["models", "experience", "serve", "train"])
def test_an_extra_is_enough_for_its_commands_and_the_others_say_what_they_need(bare: Installation, extra: str) -> None:
    """With the packages of an extra alone, its commands answer --help, and every other command names its own extra."""
    bare.bring(*EXTRAS[extra])
    enough = {extra, "models"} | ({"experience"} if extra == "serve" else set())  # a server records experience
    for command, needed in COMMANDS.items():
        done = bare.run(command, "--help")
        if needed in enough:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 2, done.stderr
            assert f"{command} needs the extra '{needed}'" in done.stderr
    assert bare.run("dqn-models", "list", "--repository", "nothing").returncode == 0


def test_the_image_that_serves_keeps_only_commands_that_work(tmp_path: Path, wheel: Path) -> None:
    """The Dockerfile's own lines leave the commands of serving and of the repository, and no package of training."""
    bare = Installation(tmp_path / "venv", wheel)
    bare.bring(*EXTRAS["serve"])
    dockerfile = (ROOT / "Dockerfile").read_text()
    lines = re.search(r"cd /opt/dqn && (rm -r .*/dqn_training.*done)\n", dockerfile, re.DOTALL)
    assert lines
    script = re.sub(r"^ *#.*\n", "", lines[1], flags=re.MULTILINE).replace("\\\n", " ")
    subprocess.run(["/bin/sh", "-ec", script], cwd=bare.bin.parent, check=True, timeout=60)
    assert {path.name for path in bare.bin.glob("dqn-*")} == {"dqn-models", "dqn-experience", "dqn-serve"}
    assert {path.name for path in bare.site.glob("dqn_*")} >= {"dqn_models", "dqn_experience", "dqn_serving"}
    assert not list(bare.site.glob("dqn_training")) + list(bare.site.glob("dqn_client"))


def test_a_search_without_optuna_names_its_extra(bare: Installation) -> None:
    """`dqn-tune` parses its flags with `train` alone, and names `tune` when the search should start."""
    bare.bring(*EXTRAS["train"])
    done = bare.run("dqn-tune", "--env-id", "CartPole-v1")
    assert done.returncode == 2
    assert done.stderr == (
        "error: dqn-tune needs the extra 'tune', whose package optuna is not installed: "
        "pip install 'dqn-policy-server[tune]'.\n"
    )


def test_the_client_needs_neither_numpy_nor_onnx_runtime(bare: Installation) -> None:
    """With the extra `client` the client can be imported, and the extra installs no package of another wing."""
    bare.bring(*EXTRAS["client"])
    assert bare.run("python", "-c", "import dqn_client").returncode == 0
    assert not closure(tuple(EXTRAS["client"])) & {"numpy", "onnxruntime", "pydantic", "torch", "fastapi"}


@pytest.mark.parametrize("extra", ["models", "experience", "serve", "train"])
def test_every_package_of_an_extra_is_checked(bare: Installation, extra: str) -> None:
    """Whichever package of its extra is missing, a command names the extra."""
    command = next(name for name, needed in COMMANDS.items() if needed == extra)
    bare.bring(*EXTRAS[extra])
    for text in EXTRAS[extra]:
        name = Requirement(text).name
        if name == "dqn-policy-server":
            continue
        links = [bare.site / top.name for top in top_levels(distribution(name)) if not top.name.endswith("-info")]
        for link in links:
            link.rename(link.with_name(f"{link.name}.away"))
        done = bare.run(command, "--help")
        assert f"{command} needs the extra '{extra}'" in done.stderr, name
        for link in links:
            link.with_name(f"{link.name}.away").rename(link)
