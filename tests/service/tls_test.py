"""TLS over TCP: who is let in, who is not, and what a server needs to start with it."""

import pathlib
import signal
import subprocess
import tempfile
import unittest

import grpc

from service import BIN, PATIENCE, Server, introspection, introspection_stub, wait_until


class Authority:
    """Signs certificates, with keys that are made quickly."""

    def __init__(self, directory, name):
        self.directory, self.name = pathlib.Path(directory), name
        self.certificate = self.path("pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                     "-noenc", "-subj", f"/CN={name}", "-days", "2", "-keyout", self.path("key"),
                     "-out", self.certificate)

    def path(self, kind, of=""):
        return self.directory / f"{self.name}{of}.{kind}"

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)

    def issue(self, of):
        """The files of a key and of a certificate for this machine."""
        key, request, certificate, names = (
            self.path(kind, of) for kind in ("key", "csr", "pem", "names"))
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
                     "-subj", f"/CN={of}", "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey",
                     self.path("key"), "-CAcreateserial", "-days", "2", "-extfile", names, "-out",
                     certificate)
        return key, certificate


class TlsTest(unittest.TestCase):
    asks_clients = False

    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.keys.cleanup)
        cls.authority = Authority(cls.keys.name, "ours")
        cls.other = Authority(cls.keys.name, "others")
        cls.server_files = cls.authority.issue("server")

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.server = self.start("127.0.0.1:0", f"unix:{self.directory}/s")
        self.address = self.server.address

    def config(self):
        key, certificate = self.server_files
        text = f"auth:\n  tls_certificate_file: {certificate}\n  tls_key_file: {key}\n"
        if self.asks_clients:
            text += f"  tls_client_ca_file: {self.authority.certificate}\n"
        return text

    def start(self, *listen):
        server = Server(self.directory, listen=listen, config=self.config())
        self.addCleanup(server.stop)
        return server

    def info(self, credentials, address=None):
        """What the server tells about itself; the status code of who is not let in."""
        address = address or self.address
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = (grpc.insecure_channel(address, options) if credentials is None else
                   grpc.secure_channel(address, credentials, options))
        token = (self.directory / "data" / "token").read_text().strip()
        with channel:
            stub = introspection_stub.IntrospectionServiceStub(channel)
            try:
                return stub.GetServerInfo(introspection.GetServerInfoRequest(), timeout=PATIENCE,
                                          metadata=(("authorization", "Bearer " + token),))
            except grpc.RpcError as error:
                return error.code()

    def assert_speaks(self, answer):
        self.assertIsInstance(answer, introspection.ServerInfo)

    def list_jobs(self, code, *options):
        """`nursery ls` over TCP ends with `code`; what it says is given."""
        done = subprocess.run([str(BIN / "nursery"), "ls", "--server", self.address, "--token-file",
                               str(self.directory / "data" / "token"), *map(str, options)],
                              check=False, timeout=PATIENCE, text=True, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def credentials(self, files=None, authority=None):
        key, certificate = (file.read_bytes() for file in files) if files else (None, None)
        trusted = (authority or self.authority).certificate.read_bytes()
        return grpc.ssl_channel_credentials(trusted, key, certificate)


class ServerCertificateTest(TlsTest):
    def test_a_client_that_knows_the_authority_speaks(self):
        self.assert_speaks(self.info(self.credentials()))

    def test_a_client_without_tls_is_refused(self):
        self.assertEqual(self.info(None), grpc.StatusCode.UNAVAILABLE)

    def test_a_client_does_not_speak_to_whom_others_vouch_for(self):
        self.assertEqual(self.info(self.credentials(authority=self.other)),
                         grpc.StatusCode.UNAVAILABLE)

    def test_the_socket_needs_none(self):
        self.assert_speaks(self.info(None, f"unix:{self.directory}/s"))

    def test_tls_replaces_no_token(self):
        with grpc.secure_channel(self.address, self.credentials()) as channel:
            stub = introspection_stub.IntrospectionServiceStub(channel)
            with self.assertRaises(grpc.RpcError) as raised:
                stub.GetServerInfo(introspection.GetServerInfoRequest(), timeout=PATIENCE)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_other_machines_may_be_served(self):
        self.server.stop()
        port = self.start("0.0.0.0:0").address.rpartition(":")[2]
        self.assert_speaks(self.info(self.credentials(), "127.0.0.1:" + port))

    def test_the_command_line_speaks(self):
        self.list_jobs(0, "--tls-ca", self.authority.certificate)
        self.list_jobs(5, "--tls-ca", self.other.certificate)


class ClientCertificateTest(TlsTest):
    asks_clients = True

    def test_a_client_with_a_certificate_speaks(self):
        self.assert_speaks(self.info(self.credentials(self.authority.issue("client"))))

    def test_a_client_without_one_is_refused(self):
        self.assertEqual(self.info(self.credentials()), grpc.StatusCode.UNAVAILABLE)

    def test_a_client_with_one_of_another_authority_is_refused(self):
        self.assertEqual(self.info(self.credentials(self.other.issue("client"))),
                         grpc.StatusCode.UNAVAILABLE)

    def test_the_command_line_speaks_with_a_certificate(self):
        key, certificate = self.authority.issue("user")
        known = ("--tls-ca", self.authority.certificate)
        self.list_jobs(0, *known, "--tls-cert", certificate, "--tls-key", key)
        self.list_jobs(5, *known)
        other_key, other = self.other.issue("user")
        self.list_jobs(5, *known, "--tls-cert", other, "--tls-key", other_key)
        self.assertIn("--tls-key", self.list_jobs(2, *known, "--tls-cert", certificate))
        self.assertIn("the file of the authority that signed the server's",
                      self.list_jobs(2, "--tls-cert", certificate, "--tls-key", key))


class RenewalTest(TlsTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server_files = tuple(pathlib.Path(cls.keys.name, name) for name in ("key", "pem"))

    def setUp(self):
        self.renew(self.authority.issue("first"))
        super().setUp()

    def renew(self, files):
        for source, target in zip(files, self.server_files):
            target.write_bytes(source.read_bytes())

    def reload(self):
        lines = self.server.log_text().count("nurseryd: configuration")
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.server.log_text().count("nurseryd: configuration") > lines)
        return self.server.log_text().splitlines()[-1]

    def test_a_renewed_certificate_is_named_for_a_restart(self):
        self.assertEqual(self.reload(), "nurseryd: configuration reloaded")
        self.renew(self.authority.issue("second"))
        self.assertEqual(self.reload(), "nurseryd: configuration reloaded; only a restart changes "
                         "auth.tls_certificate_file, auth.tls_key_file")
        self.server_files[0].unlink()
        said = self.reload()
        self.assertIn("configuration not reloaded, all stays as it was: ", said)
        self.assertIn("auth.tls_key_file: ", said)
        self.assert_speaks(self.info(self.credentials()))


class FilesTest(TlsTest):
    def refused(self, key, certificate):
        config = self.directory / "wrong.yaml"
        config.write_text(
            f"auth: {{tls_certificate_file: {certificate}, tls_key_file: {key}}}\n")
        done = subprocess.run([str(BIN / "nurseryd"), "--data", str(self.directory / "more"),
                               "--http", "none", "--listen", "127.0.0.1:0", "--config",
                               str(config)], stderr=subprocess.PIPE, text=True, check=False,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_what_cannot_be_read_is_named(self):
        _, certificate = self.server_files
        said = self.refused("/no/such.key", certificate)
        self.assertIn("auth.tls_key_file: /no/such.key", said)
        self.assertEqual(said.count("\n"), 1, said)

    def test_what_cannot_work_starts_nothing(self):
        key, certificate = self.server_files
        other_key, _ = self.authority.issue("another")
        for files, expected in (
                ((other_key, certificate), "auth.tls_key_file: is not the key of the certificate"),
                ((certificate, certificate), "auth.tls_key_file: holds no key in PEM"),
                ((key, key), "auth.tls_certificate_file: holds no certificate in PEM")):
            self.assertIn(expected, self.refused(*files))


if __name__ == "__main__":
    unittest.main()
