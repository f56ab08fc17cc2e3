"""HTTPS with the configured certificate."""

import json
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from websockets.sync.client import connect

from dqn_models.cli_support import UsageError
from dqn_serving.settings import read_settings
from dqn_testing.fixtures import TOKEN
from dqn_testing.server import Server, wait_until
from dqn_testing.tls import TlsFiles

ACT = {"observation": [0.1, 0.2, 0.3, 0.4]}


def serial_number(server: Server, tls_files: TlsFiles) -> str:
    """The serial number of the certificate on a new connection."""
    with tls_files.client() as client, client.stream("GET", f"{server.url}/healthz") as response:
        connection: ssl.SSLObject = response.extensions["network_stream"].get_extra_info("ssl_object")
        certificate = connection.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


@pytest.mark.slow
def test_calls_work_and_certificates_change(secure: Server, tls_files: TlsFiles) -> None:
    """Every kind of call works over TLS, clients that do not trust the certificate fail, and a new one is picked up."""
    with tls_files.client() as client:
        for _ in range(3):  # on one connection
            assert client.post(f"{secure.url}/act", json=ACT).json()["action"] == 1
        assert client.get(f"{secure.url}/readyz").status_code == 200
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post(f"{secure.url}/models/cartpole/refresh", headers=headers).json()["outcome"] == "unchanged"
        assert client.post(f"{secure.url}/act", content=b" " * 300_000).status_code == 400
        with connect(f"{secure.url.replace('https', 'wss')}/act/stream", ssl=tls_files.trust()) as stream:
            assert json.loads(stream.recv())["type"] == "hello"
            stream.send(json.dumps(ACT))
            assert json.loads(stream.recv())["action"] == 1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{secure.url}/healthz")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{secure.url.replace('https', 'http')}/healthz")
        before = serial_number(secure, tls_files)
        tls_files.settings["tls_key"].write_bytes(b"not a key")
        assert "not a certificate and its key" in secure.wait_log("file not reloaded", kind="tls")["reason"]
        assert serial_number(secure, tls_files) == before
        tls_files.write()
        wait_until(lambda: serial_number(secure, tls_files) != before, 20, "reloaded")
        assert client.post(f"{secure.url}/act", json=ACT).json()["action"] == 1  # still the first connection
    assert secure.stop() == 0


def test_wrong_files_are_refused_at_start(tls_files: TlsFiles, tmp_path: Path) -> None:
    """A missing half, a missing file, a key of another certificate and a key with a password are each named."""
    certificate, key = (str(path) for path in tls_files.settings.values())
    (tmp_path / "other").mkdir()
    other = TlsFiles(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        serialization.load_pem_private_key(Path(key).read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for arguments, said in (
        ([f"--tls-certificate={certificate}"], "tls_certificate is set but tls_key is not: set DQN_TLS_KEY as well"),
        ([f"--tls-key={key}"], "set DQN_TLS_CERTIFICATE as well"),
        ([f"--tls-certificate={certificate}", "--tls-key=/nowhere"], "/nowhere is not a file that can be read"),
        ([f"--tls-certificate={certificate}", f"--tls-key={certificate}"], "are not a certificate and its key in PEM"),
        ([f"--tls-certificate={certificate}", f"--tls-key={other.settings['tls_key']}"], "key values mismatch"),
        ([f"--tls-certificate={certificate}", f"--tls-key={locked}"], "has a password, which is not supported"),
    ):
        with pytest.raises(UsageError) as caught:
            read_settings(arguments)
        assert said in str(caught.value)
