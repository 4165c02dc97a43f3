"""Who may include whom. Dependencies point down only."""

import fnmatch
import re

# A file belongs to the first layer whose prefix it has; it may include its own layer and those
# listed. "grpc", "protobuf", "prometheus" and "civetweb" stand for the libraries; "stubs" for
# generated service code.
LAYERS = [
    ("core/", {"core"}),
    ("server/spec/", {"core", "server/spec", "protobuf"}),
    # Events are messages, so that what is logged, watched and shown is one thing.
    ("server/engine/", {"core", "server/spec", "server/engine", "protobuf"}),
    ("server/warden/", {"core", "server/spec", "server/engine", "server/warden"}),
    ("server/actions/grpc*", {"core", "server/spec", "server/engine", "server/actions",
                              "grpc", "protobuf"}),
    ("server/actions/", {"core", "server/spec", "server/engine", "server/warden",
                         "server/actions", "protobuf"}),
    ("server/store/", {"core", "server/spec", "server/engine", "server/store", "protobuf"}),
    ("server/rpc/", {"core", "server/spec", "server/engine", "server/rpc", "protobuf", "grpc",
                     "stubs"}),
    ("server/ops/", {"core", "server/spec", "server/engine", "server/warden", "server/rpc",
                     "server/ops", "protobuf", "grpc", "stubs", "prometheus",
                     "civetweb"}),
    # app, options and main put everything together; gRPC, Prometheus and civetweb stay behind rpc
    # and ops.
    ("server/", {"core", "server", "server/spec", "server/engine", "server/warden",
                 "server/actions", "server/store", "server/rpc", "server/ops", "protobuf"}),
    ("client/include/", {"core", "client"}),
    ("client/src/", {"core", "client", "protobuf", "grpc", "stubs"}),
    # The one sideways edge: `nursery run` embeds the server, and draws the engine's view of it.
    ("client/cli/", {"core", "client", "client/cli", "server", "server/spec", "server/engine",
                     "protobuf"}),
    ("tests/core/", {"core", "tests"}),
    ("tests/install/", {"core", "client", "server", "tests"}),
]

# Whoever includes the client's headers needs neither library, also not for a declaration.
HIDDEN = re.compile(r"\b(?:grpc\w*|protobuf|v1)\s*::|"
                    r"\bnamespace\s+(?:grpc|google|v1|nursery::v1)\b")

INCLUDE = re.compile(r"^\s*#\s*include\s*<([^>\n]+)>", re.M)
# The layer that an include belongs to, by its path; the first match counts.
OWNERS = [
    ("nursery/core/*", "core"),
    ("core/*", "core"),
    ("nursery/client/*", "client"),
    ("client/src/*", "client"),
    ("client/cli/*", "client/cli"),
    ("nursery/server/*", "server"),
    ("*.grpc.pb.h", "stubs"),
    ("grpc/*", "grpc"),
    ("grpcpp/*", "grpc"),
    ("*.pb.h", "protobuf"),
    ("google/protobuf/*", "protobuf"),
    ("prometheus/*", "prometheus"),
    ("civetweb.h", "civetweb"),
    ("tests/*", "tests"),
]


def owner_of(include):
    match = re.match(r"server/(?:(\w+)/)?", include)
    if match:
        # server/app composes, as the files of server/ itself do.
        return f"server/{match[1]}" if match[1] not in (None, "app") else "server"
    for pattern, owner in OWNERS:
        if fnmatch.fnmatchcase(include, pattern):
            return owner
    return None


def allowed_for(path):
    for prefix, allowed in LAYERS:
        if path.startswith(prefix.rstrip("*")):
            return allowed
    return None


def check(source):
    allowed = allowed_for(source.path)
    if not source.is_cpp or allowed is None:
        return
    for match in INCLUDE.finditer(source.code):
        owner = owner_of(match[1])
        if owner and owner not in allowed:
            yield source.violation("layering", match.start(1), f"may not include {match[1]}")
    if source.below("client/include/"):
        for match in HIDDEN.finditer(source.code):
            yield source.violation("layering", match.start(), f"may not name {match[0]}")
