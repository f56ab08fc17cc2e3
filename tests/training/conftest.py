"""What all tests of training share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in training itself: threads that wait for each other make networks of this size many times slower."""
    torch.set_num_threads(1)
