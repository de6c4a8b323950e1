"""TLS of a Dask cluster: certificates of a running one, and temporary ones for a cluster of this machine.

Dask knows no password: whoever reaches a scheduler's port can run any program as the user who started it,
unless certificates keep others out. Unix permissions cannot guard a port, so a cluster on a shared machine
needs them too.
"""

import ipaddress
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import NaafError, UsageError
from ..files import shown
from ..messages import say

if TYPE_CHECKING:
    from distributed.security import Security

ENCRYPTED = ("tls", "wss")
OPTIONS = "--tls-ca, --tls-cert and --tls-key"
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", re.DOTALL)
SELF_SIGNED = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=dask-internal")


@contextmanager
def certificates(
    address: str | None, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> Iterator[None]:
    """Within it, Dask's configuration has these PEM files for a client; without any it stays as it is.

    key: None where cert holds it too. Raises UsageError where the address is no tls:// and where a file is
    not given; NaafError for one that is missing.
    """
    files = {"ca-file": ca, "client.cert": cert, "client.key": key}
    if not any(files.values()):
        yield
        return
    if address is None or _scheme(address) not in ENCRYPTED:
        raise UsageError(f"{OPTIONS} go with --scheduler tls://HOST:PORT, not with {address or 'none'}")
    if not (ca and cert):
        raise UsageError(f"{OPTIONS} go together (a key may stand in the file of --tls-cert)")
    for file in filter(None, files.values()):
        if not file.is_file():
            raise NaafError(f"{shown(file)} is missing; {OPTIONS} name PEM files")
    import dask
    import distributed  # noqa: F401  its own defaults, before some are replaced and put back

    with dask.config.set({f"distributed.comm.tls.{name}": str(file) for name, file in files.items() if file}):
        yield


def client_security(address: str) -> "Security":
    """What Dask's configuration has for a client. Raises NaafError where an encrypted address lacks it."""
    from distributed.security import Security

    security = Security()
    if _scheme(address) in ENCRYPTED and not (security.tls_ca_file and security.tls_client_cert):
        raise NaafError(
            f"{address} is encrypted and no certificate is known; name the files with {OPTIONS}, or in "
            "Dask's configuration (distributed.comm.tls)"
        )
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        named = (security.tls_ca_file, security.tls_client_cert, security.tls_client_key)
        files = ", ".join(shown(file) for file in named if file)
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        raise NaafError(f"{files}: not a certificate and its key in PEM ({reason}); get them again") from None
    return security


def certificates_hint(address: str) -> str:
    """What else may be wrong where nobody answers."""
    if _scheme(address) in ENCRYPTED:
        return ", and are the certificates of its authority"
    return " without TLS (with it, it answers at tls:// alone)"


@cache
def warn_of_open(*addresses: str) -> None:
    """Say, once, that a scheduler can be reached from other machines and lets everybody in."""
    reached = [address for address in addresses if _is_open(address)]
    if reached:
        say(
            f"warning: the scheduler at {reached[0]} listens beyond this machine without TLS, and whoever "
            "reaches it can run programs as you; start it with --tls-ca-file, --tls-cert and --tls-key (see "
            "SECURITY.md)"
        )


def _is_open(address: str) -> bool:
    host = urlsplit(address).hostname
    if _scheme(address) in (*ENCRYPTED, "inproc") or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host or "").is_loopback
    except ValueError:  # a name
        return True


def _scheme(address: str) -> str:
    return address.partition("://")[0]


def temporary_security() -> "Security | None":
    """Certificates in memory for a cluster of this process alone, made by Dask, else by openssl.

    None where the machine has neither cryptography, which Dask uses, nor the openssl command.
    """
    from distributed.security import Security

    if find_spec("cryptography") is not None:
        return Security.temporary()
    program = shutil.which("openssl")
    made = program and subprocess.run(
        [program, *SELF_SIGNED, "-keyout", "-", "-out", "-"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    texts = PEM.finditer(made.stdout if made else "")
    found = {text[1].split()[-1]: text[0] for text in texts}
    if set(found) != {"KEY", "CERTIFICATE"}:
        return None
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=found["CERTIFICATE"],
        **{f"tls_{role}_cert": found["CERTIFICATE"] for role in roles},
        **{f"tls_{role}_key": found["KEY"] for role in roles},
    )
