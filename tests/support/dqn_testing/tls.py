"""Certificates of an authority created for tests."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import trustme


class TlsFiles:
    """Files with a certificate and its key for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        """Writes cert.pem and key.pem into the folder."""
        self.authority = trustme.CA()
        self.settings: dict[str, Any] = {"tls_certificate": folder / "cert.pem", "tls_key": folder / "key.pem"}
        self.write()

    def write(self) -> None:
        """Replaces both with new ones of the same authority."""
        issued = self.authority.issue_cert("127.0.0.1")
        self.settings["tls_certificate"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.settings["tls_key"].write_bytes(issued.private_key_pem.bytes())

    def trust(self) -> ssl.SSLContext:
        """A context for clients that trust this authority and no other."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def client(self) -> httpx.Client:
        """An HTTP client that trusts this authority and no other."""
        return httpx.Client(verify=self.trust(), timeout=20)
