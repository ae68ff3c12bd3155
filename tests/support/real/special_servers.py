"""Real ZooKeeper servers that demand more than a TCP connection: TLS with client certificates, SASL DIGEST-MD5."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import HOST, free_port
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server, ServerError

# Python 3.13 verifies strictly: a CA without keyUsage, or a leaf without the key identifiers, is refused.
OPENSSL_CONFIGURATION = f"""\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:{HOST}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Certificates:
    """PEM files of a certificate authority, and of a server and a client with its certificates. Keys have no password.

    `server` and `client` hold the key and the certificate in one file, as both ZooKeeper and Python's ssl take them.
    The certificates are for 127.0.0.1 and localhost; the client's subject is CN=client.
    """

    authority: Path
    server: Path
    client: Path

    def client_context(self, *, with_certificate: bool = True) -> ssl.SSLContext:
        """A context that trusts the server and, by default, shows the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if with_certificate:
            context.load_cert_chain(str(self.client))
        return context


def make_certificates(directory: Path) -> Certificates:
    """Make an authority, and a server's and a client's certificate, in `directory` with the `openssl` command (3.0).

    Raises:
        subprocess.CalledProcessError: openssl failed; its message is on stderr.
    """
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "openssl.cnf"
    configuration.write_text(OPENSSL_CONFIGURATION)

    def make(name: str, extensions: str, *issuer: str | Path) -> Path:
        key, certificate, both = directory / f"{name}.key", directory / f"{name}.crt", directory / f"{name}.pem"
        new_key: list[str | Path] = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            key,
        ]
        about: list[str | Path] = [
            "-subj",
            f"/CN={name}",
            "-days",
            "30",
            "-config",
            configuration,
            "-extensions",
            extensions,
        ]
        subprocess.run(["openssl", "req", "-x509", *new_key, "-out", certificate, *about, *issuer], check=True)
        both.write_text(key.read_text() + certificate.read_text())
        return both

    make("authority", "authority")
    authority = directory / "authority.crt"
    signed: list[str | Path] = ["-CA", authority, "-CAkey", directory / "authority.key"]
    return Certificates(authority, make("server", "leaf", *signed), make("client", "leaf", *signed))


class TlsServer(Server):
    """A server with a second client port that takes TLS only, and only clients that show a certificate."""

    certificates: Certificates
    secure_port: int

    @property
    def secure_address(self) -> str:
        """The address of the TLS port; `address` is that of the plain one."""
        return f"{HOST}:{self.secure_port}"


def tls_server(
    distribution: Distribution, directory: Path | None = None, *, config: Mapping[str, str] | None = None
) -> TlsServer:
    """A server, not started yet, with TLS on `secure_address` and certificates of its own in `certificates`.

    `config` may relax it: `{"ssl.clientAuth": "none"}` asks clients for no certificate.
    ZooKeeper has TLS since 3.5 and reads PEM files since 3.5.5.

    Raises:
        ServerError: the distribution is older than that.
        subprocess.CalledProcessError: openssl could not make the certificates.
    """
    if distribution.version_tuple < (3, 5, 5):
        raise ServerError(f"ZooKeeper {distribution.version} has no TLS with PEM files, 3.5.5 is the first that does")
    server = TlsServer(distribution, directory)
    server.secure_port = free_port()
    server.certificates = make_certificates(server.directory / "certificates")
    server.config |= {
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",  # the default one has no TLS
        "secureClientPort": str(server.secure_port),
        "secureClientPortAddress": HOST,
        "ssl.keyStore.location": str(server.certificates.server),
        "ssl.keyStore.type": "PEM",
        "ssl.trustStore.location": str(server.certificates.authority),
        "ssl.trustStore.type": "PEM",
        **(config or {}),
    }
    return server


def sasl_server(
    distribution: Distribution,
    directory: Path | None = None,
    users: Mapping[str, str] | None = None,
    *,
    config: Mapping[str, str] | None = None,
) -> Server:
    """A server, not started yet, that takes SASL DIGEST-MD5 from `users`, name to password; default bob, "secret".

    Other clients are served too; `config={"sessionRequireClientSASLAuth": "true"}` refuses them, since 3.6. FIPS mode,
    in which 3.9.6 and later refuse DIGEST-MD5, is off; `config={"fips-mode": "true"}` turns it on.
    """
    server = Server(distribution, directory)
    server.directory.mkdir(parents=True, exist_ok=True)
    jaas = server.directory / "jaas.conf"
    entries = "".join(f'\n    user_{name}="{password}"' for name, password in (users or {"bob": "secret"}).items())
    jaas.write_text(f"Server {{\n    org.apache.zookeeper.server.auth.DigestLoginModule required{entries};\n}};\n")
    server.jvm.append(f"-Djava.security.auth.login.config={jaas}")
    server.config |= {
        "authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "fips-mode": "false",
        **(config or {}),
    }
    return server
