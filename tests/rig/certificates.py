"""Certificates for a test's own servers."""
import ssl
import subprocess


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A CA of the test's own, and server certificates signed by it: one for localhost, one for another name."""

    def __init__(self, directory):
        def openssl(*args):
            subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=directory)

        self.ca = directory / "ca.pem"
        openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=test CA",
                "-keyout", "ca.key", "-out", "ca.pem")
        self.names = []
        self.contexts = {}
        for name in ("localhost", "elsewhere.test"):
            (directory / "san").write_text("subjectAltName=DNS:%s,IP:127.0.0.1\n" % name)
            openssl("req", *KEY, "-subj", "/CN=" + name,
                    "-keyout", name + ".key", "-out", "server.csr")
            openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", "2", "-extfile", "san", "-out", name + ".pem")
            context = self.contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(directory / (name + ".pem"), directory / (name + ".key"))
            context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        # A client's certificate, and one that this CA has not signed, each with its key in one file.
        self.client, self.stranger = directory / "client.bundle", directory / "stranger.bundle"
        openssl("req", *KEY, "-subj", "/CN=gateway", "-keyout", "client.key", "-out", "client.csr")
        openssl("x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "client.pem")
        openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=gateway", "-keyout", "stranger.key",
                "-out", "stranger.pem")
        for bundle in (self.client, self.stranger):
            bundle.write_text("".join(bundle.with_suffix(end).read_text() for end in (".pem", ".key")))
        self.server, self.misnamed = self.contexts["localhost"], self.contexts["elsewhere.test"]
        # For a server that lets in only clients with a certificate of this CA.
        self.mutual = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.mutual.load_cert_chain(directory / "localhost.pem", directory / "localhost.key")
        self.mutual.load_verify_locations(self.ca)
        self.mutual.verify_mode = ssl.CERT_REQUIRED
        # Certificate and key in one file, as HAProxy's `crt` takes them; and the context of a client that speaks HTTP/2.
        self.bundle = directory / "localhost.bundle"
        self.bundle.write_text((directory / "localhost.pem").read_text() + (directory / "localhost.key").read_text())
        self.h2_client = ssl.create_default_context(cafile=str(self.ca))
        self.h2_client.set_alpn_protocols(["h2"])
