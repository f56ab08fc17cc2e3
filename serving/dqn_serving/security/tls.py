"""TLS with a certificate and key that may be replaced while the server runs."""

import ssl
from pathlib import Path

from dqn_serving.security.reloading import ReloadedFiles
from dqn_serving.telemetry.shared_memory import WorkerSegment


class Certificate:
    """The TLS context of new connections; open ones keep the certificate that they began with."""

    def __init__(self, certificate: Path, key: Path, segment: WorkerSegment) -> None:
        """PEM files; the certificate's may include its issuers. With invalid ones no client can connect."""
        self._paths = certificate, key
        self.context = _context()
        self.files = ReloadedFiles("tls", self._paths, self._accept, segment)
        self.files.poll()

    def _accept(self, _certificate: bytes, _key: bytes) -> None:
        check(*self._paths)  # in a separate context: a wrong key would leave the one in use without any
        _load(self.context, *self._paths)


def check(certificate: Path, key: Path) -> None:
    """Raises ValueError with a sentence if the files are not a certificate and its key."""
    _load(_context(), certificate, key)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        if not path.is_file():
            raise ValueError(f"{path} is not a file that can be read")
    try:
        context.load_cert_chain(certificate, key, _refuse_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        found = str(reason).replace("_", " ").lower()
        raise ValueError(f"{certificate} and {key} are not a certificate and its key in PEM: {found}") from None


def _refuse_password() -> str:  # without it OpenSSL would ask on the terminal
    raise ValueError("the key has a password, which is not supported")
