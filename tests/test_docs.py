"""Documentation is tested as code: what exists is documented, and what the code map names exists."""

import re
import tomllib
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.services import Services
from dqn_serving.settings import ENV_PREFIX, ServerSettings, read_settings
from dqn_testing.commands import run
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server
from dqn_training.presets import preset_names
from dqn_training.retraining.loop import RetrainMetrics

ROOT = Path(__file__).parent.parent
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
GUIDE = "\n".join(path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
"""What a user reads: README and the pages of docs."""


def test_every_setting_is_documented() -> None:
    """The guide has a row for each field of ServerSettings, with its variable, flag and default."""
    for name, field in ServerSettings.model_fields.items():
        row = next((line for line in GUIDE.splitlines() if f"| `{ENV_PREFIX}{name.upper()}` |" in line), "")
        assert f"`--{name.replace('_', '-')}`" in row, name
        if field.default not in {None, ()}:
            shown = str(field.default).lower().removesuffix(".0")
            assert f"| {shown} |" in row, name


def test_every_metric_is_documented(tmp_path: Path) -> None:
    """The guide has a row for each metric of a running server and of the retraining job, and for no other."""
    repository = ModelRepository(tmp_path)
    publish_linear(repository, promote=True)
    with running_server(repository) as server:
        server.wait_ready()
        server.post("/act", {"observation": [0, 0, 0, 0]})
        server.post("/act", {"observation": [0]})
        served = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics").text, re.MULTILINE))
    trained = {metric.name for metric in RetrainMetrics("m").registry.collect()}
    exist = served | trained
    documented = set(re.findall(r"^\| `(dqn_\w+)` \|", GUIDE, re.MULTILINE))
    assert {name.removesuffix("_total") for name in documented} == {name.removesuffix("_total") for name in exist}


def test_every_endpoint_is_documented(tmp_path: Path) -> None:
    """The guide names each call of the OpenAPI document, with its method."""
    app = Server(Services(read_settings(["--repository", str(tmp_path)]))).app
    paths = app.openapi()["paths"]
    assert len(paths) >= 11
    for path, methods in paths.items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in GUIDE


def test_every_command_and_preset_is_documented() -> None:
    """The guide shows each console script, each dqn-models subcommand and each preset."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for script in project["scripts"]:
        assert re.search(rf"^{script} ", GUIDE, re.MULTILINE), script
    for subcommand in re.findall(r"• (\w+) ", run("dqn-models", "--help").stdout):
        assert f"dqn-models {subcommand}" in GUIDE
    for preset in preset_names():
        assert f"| `{preset}` |" in GUIDE


def test_every_make_target_is_documented() -> None:
    """The guide names each target of the Makefile, and `make help` can describe it."""
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for target in line.split():
        assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE), target
        assert f"`{target}`" in GUIDE or f"make {target}" in GUIDE, target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link in a document names a file that exists and, after `#`, a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}, target
