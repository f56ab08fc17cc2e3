"""Settings: flags and environment variables, their precedence, and the errors of invalid ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqn_models.cli_support import UsageError
from dqn_serving.settings import ServerSettings, read_settings

COMMAND = str(Path(sys.executable).with_name("dqn-serve"))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DQN_")]:
        monkeypatch.delenv(name)


def test_defaults_are_safe() -> None:
    """Without any setting the server listens locally only and admin calls are off."""
    settings = read_settings([])
    assert (settings.host, settings.port, settings.refresh_seconds) == ("127.0.0.1", 8000, 1.0)
    assert settings.repository == Path("models/store")
    assert settings.api_token is None


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag overrides its variable, a variable the default, and an empty variable counts as unset."""
    monkeypatch.setenv("DQN_PORT", "1234")
    monkeypatch.setenv("DQN_HOST", "0.0.0.0")  # noqa: S104  (nothing listens)
    monkeypatch.setenv("DQN_REPOSITORY", "")
    settings = read_settings(["--port", "4321"])
    assert (settings.port, settings.host) == (4321, "0.0.0.0")  # noqa: S104
    assert settings.repository == Path("models/store")


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Origins may be given in one flag, in several flags, or in the variable."""
    wanted = ("https://lab.example", "http://localhost:3000")
    assert read_settings(["--cors-origins", ",".join(wanted)]).cors_origins == wanted
    assert read_settings([f"--cors-origins={origin}" for origin in wanted]).cors_origins == wanted
    monkeypatch.setenv("DQN_CORS_ORIGINS", " , ".join(wanted))
    assert read_settings([]).cors_origins == wanted
    assert read_settings(["--cors-origins", "*"]).cors_origins == ("*",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "--port (DQN_PORT) is '99999'; it should be less than or equal to 65535."),
        (["--port", "http"], "--port (DQN_PORT) is 'http'; it should be a valid integer"),
        (["--refresh-seconds", "0"], "--refresh-seconds (DQN_REFRESH_SECONDS) is '0'; it should be greater than"),
        (["--refresh-seconds", "nan"], "--refresh-seconds (DQN_REFRESH_SECONDS) is 'nan'"),
        (["--log-format", "xml"], "it should be 'auto', 'json' or 'console'."),
        (["--model", "../x"], "--model (DQN_MODEL) is '../x'; it should match pattern"),
        (["--max-body-bytes", "-1"], "it should be greater than or equal to 1024."),
        (["--require-token"], "set DQN_API_TOKEN"),
        (["--require-token", "--api-token", ""], "set DQN_API_TOKEN"),
        (["--api-token-file", "/nowhere/tokens"], "/nowhere/tokens is not a file that can be read."),
        (["--cors-origins", "https://a.example/path"], "is not an origin"),
        (["--cors-origins", "lab.example"], "is not an origin"),
        (["--prot", "1"], "--prot"),
        (["extra"], "extra"),
        (["--port"], "--port"),
    ],
)
def test_wrong_setting_is_one_sentence(arguments: list[str], said: str) -> None:
    """A wrong setting is refused with its name, its value and what is allowed."""
    with pytest.raises(UsageError) as caught:
        read_settings(arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_token_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that cannot be sent in a header is refused without showing it."""
    monkeypatch.setenv("DQN_API_TOKEN", "sécret")
    with pytest.raises(UsageError) as caught:
        read_settings([])
    assert "DQN_API_TOKEN" in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.slow
def test_wrong_variable_ends_the_command_with_2() -> None:
    """The command itself ends with status 2, one line on standard error, none on standard output."""
    environment = os.environ | {"DQN_PORT": "eighty"}
    ended = subprocess.run([COMMAND], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: --port (DQN_PORT) is 'eighty'")
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_help_explains_every_setting() -> None:
    """--help shows each option with its default and its variable, and never the token."""
    environment = os.environ | {"DQN_API_TOKEN": "hidden-token", "COLUMNS": "200"}
    ended = subprocess.run([COMMAND, "--help"], env=environment, capture_output=True, text=True, check=True)
    for name, field in ServerSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in ended.stdout
        assert f"DQN_{name.upper()}" in ended.stdout
        assert field.description
    assert "hidden-token" not in ended.stdout
