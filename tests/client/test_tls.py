"""Calls over HTTPS."""

import ssl

import pytest

import dqn_client
from dqn_testing.server import Server
from dqn_testing.tls import TlsFiles
from tests.client.clients import open_client

RIGHT = [0.1, 0.2, 0.3, 0.4]


@pytest.mark.slow
def test_certificates_are_checked(kind: str, secure: Server, tls_files: TlsFiles) -> None:
    """With a trusted authority, calls and streams work; without it they fail at once, since no retry would help."""
    trusting = ssl.create_default_context()
    tls_files.authority.configure_trust(trusting)
    with open_client(kind, secure.url, tls=trusting) as client, client.stream() as stream:
        assert stream.act(RIGHT) == client.act(RIGHT)
    with open_client(kind, secure.url) as client:
        for call in (client.act, client.stream().act):
            with pytest.raises(dqn_client.ConnectionLostError, match="certificate") as caught:
                call(RIGHT)
            assert not caught.value.may_pass
