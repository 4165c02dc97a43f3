"""HTTP/2 by hand, for clients that no library would let us be: frames are made as bytes, whether or
not they are allowed."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
DEFAULT_WINDOW, LARGEST_WINDOW = (1 << 16) - 1, (1 << 31) - 1
CANCEL = 8


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field in HPACK, as text that no table remembers."""
    return b"\0" + b"".join(
        _integer(len(text), 7) + text for text in (name.encode(), value.encode()))


def _integer(number, bits):
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([number])
    encoded, number = [limit], number - limit
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    return bytes(encoded + [number])


def request_headers(path, **more):
    """The header block of a gRPC call; more["grpc_timeout"] is the header grpc-timeout."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
              ("te", "trailers"), ("content-type", "application/grpc")]
    fields += [(name.replace("_", "-"), value) for name, value in more.items()]
    return b"".join(literal(name, value) for name, value in fields)


def grpc_message(message):
    return struct.pack(">BI", 0, len(message)) + message


def call(stream, path, message, **more):
    """The frames of a unary request."""
    return (frame(HEADERS, END_HEADERS, stream, request_headers(path, **more)) +
            frame(DATA, END_STREAM, stream, grpc_message(message)))


def hello():
    return PREFACE + frame(SETTINGS)


def hello_without_flow_control():
    """Of a client that says it takes all there is."""
    return (PREFACE +
            frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) +
            frame(WINDOW_UPDATE, payload=struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW)))


class Connection:
    """A socket to `address` ("unix:PATH" or "HOST:PORT") that waits for at most `patience`."""

    def __init__(self, address, patience):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(patience)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), patience)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """False if the server has closed the connection."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self):
        """(kind, flags, stream, payload) of the next frame; None when the server has closed."""
        while len(self.unread) < 9 or len(self.unread) < 9 + self._length():
            more = self._read()
            if not more:
                return None
            self.unread += more
        end = 9 + self._length()
        kind, flags, stream = struct.unpack(">BBI", self.unread[3:9])
        payload, self.unread = self.unread[9:end], self.unread[end:]
        return kind, flags, stream, payload

    def settings(self):
        """What the server's first SETTINGS say: values by their numbers."""
        while True:
            kind, _, _, payload = self.receive()
            if kind == SETTINGS and payload:
                return dict(struct.iter_unpack(">HI", payload))

    def ended_by(self, stream):
        """Reads until `stream` has been ended by the server; the kind of frame that did it."""
        while True:
            received = self.receive()
            if received is None:
                return None
            kind, flags, of, _ = received
            if of == stream and (kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM)):
                return kind

    def read_to_the_end(self):
        """Says that nothing more is sent, and reads until the server has closed."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        while self._read():
            pass

    def drain(self):
        """Reads what is there."""
        self.socket.setblocking(False)
        try:
            while self._read():
                pass
        except BlockingIOError:
            pass
        finally:
            self.socket.setblocking(True)

    def _length(self):
        return int.from_bytes(self.unread[:3], "big")

    def _read(self):
        try:
            return self.socket.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return b""
