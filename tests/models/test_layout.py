"""Names that are allowed in a repository."""

import pytest

from dqn_models.layout import check_alias_name, check_file_name, check_model_name, split_reference, version_number

OUTSIDE = ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\n", "a b", "ü", "-a", "a" * 129, "a\0"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_could_leave_the_repository_is_refused(name: str) -> None:
    """No model, file or alias may have a name that leads outside, and the error shows the name."""
    for check in (check_model_name, check_file_name, check_alias_name):
        with pytest.raises(ValueError, match="is not a valid") as raised:
            check(name)
        assert repr(name) in str(raised.value)


def test_usual_names_are_allowed() -> None:
    """Models and files are named with letters, digits and the usual punctuation, aliases with lowercase letters."""
    check_model_name("CartPole-v1.2_b")
    check_file_name("training_curve.png")
    check_alias_name("champion-2_b")
    with pytest.raises(ValueError, match="is not a valid name for a file of a version"):
        check_file_name("manifest.json")


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("42", 42), *((bad, None) for bad in ("0", "01", "-1", "1.0", "", " 1", "1\n", "x", "1" * 19, "²"))],
)
def test_a_version_is_a_positive_integer_in_one_spelling(text: str, number: int | None) -> None:
    """Each version has exactly one name on the disk."""
    assert version_number(text) == number


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("a", ("a", "champion")),
        ("a@3", ("a", 3)),
        ("a@best", ("a", "best")),
        ("a@", ("a", "champion")),
        ("a@0", ("a", "0")),
    ],
)
def test_a_reference_names_a_model_and_a_version_or_alias(reference: str, parts: tuple[str, int | str]) -> None:
    """MODEL, MODEL@VERSION and MODEL@ALIAS are understood; without one it is the champion."""
    assert split_reference(reference) == parts
