"""Preset files: what is written is read back; errors name the file, the key, the value and what is allowed."""

from pathlib import Path

import pytest

from dqn_testing.commands import run_here
from dqn_training.config import DQNConfig
from dqn_training.presets import preset_config, preset_names, preset_text, read_preset

UNUSUAL = DQNConfig(
    env_id="plänt:P-v0",
    env_kwargs={"name": 'a "b"\n', "mass": 2.5, "parts": [1, {"of two": True}]},
    hidden_sizes=(7,),
    learning_rate=1e-05,
    layer_norm=False,
    max_episodes=3,
)


@pytest.mark.parametrize("config", [UNUSUAL, *map(preset_config, preset_names())])
def test_a_written_preset_is_read_back(tmp_path: Path, config: DQNConfig) -> None:
    """Every preset and every kind of value survives a round trip through the file, which omits default values."""
    path = tmp_path / "p.toml"
    path.write_text(preset_text(config, "found by\n\na search"), encoding="utf-8")
    assert read_preset(path) == config
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# found by\n#\n# a search\n")
    assert "eval_every" in text or config.eval_every == DQNConfig().eval_every


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learning_rat = 2", "p.toml sets learning_rat, which is not a setting; did you mean learning_rate?"),
        ("zzz = 2", "p.toml sets zzz, which is not a setting; `dqn-train --help` lists"),
        ('loss = "hubr"', "p.toml is invalid: loss is 'hubr'; it must be 'huber' or 'squared'."),
        ('learning_rate = "2"', "p.toml is invalid: learning_rate is '2'; it must be a valid number."),
        ("hidden_sizes = [2.5]", "p.toml is invalid: hidden_sizes is [2.5]; it must be a valid integer"),
        ("gamma = 2", "p.toml is invalid: gamma is 2.0; it must lie between 0 and 1."),
        ("gamma = 2000-01-01", "p.toml is invalid: gamma is datetime.date(2000, 1, 1); it must be a valid number."),
        ("gamma = ", "p.toml is not TOML: Invalid value"),
        (None, "p.toml cannot be read: No such file or directory."),
    ],
)
def test_a_wrong_preset_file_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    """The sentence names the file, the key, its value and what is allowed."""
    path = tmp_path / "p.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"p\.toml") as caught:
        read_preset(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "sentence"),
    [
        ("tutoral", "or the path of a .toml file. Did you mean tutorial?"),
        ("nowhere.toml", "The preset nowhere.toml cannot be read"),
    ],
)
def test_an_unknown_preset_is_wrong_usage(preset: str, sentence: str) -> None:
    """The command ends with status 2 and says which presets there are."""
    done = run_here("dqn-train", "--preset", preset)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
def test_a_preset_file_decides_the_defaults(tmp_path: Path) -> None:
    """`--help` shows the file's settings as defaults; flags override them."""
    path = tmp_path / "mine.toml"
    path.write_text(preset_text(UNUSUAL, "mine"), encoding="utf-8")
    shown = " ".join(run_here("dqn-train", "--preset", path, "--help").stdout.replace("│", " ").split())
    assert "(default: 1e-05)" in shown
    assert "(default: 7)" in shown
