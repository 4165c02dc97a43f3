"""Planted violations that the rules must find, and lookalikes that they must leave alone."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_rules
import layering
import shape
import sources

PLANTED = [
    # (rule, path, text)
    ("layering", "core/src/a.cc", '#include "server/engine/join.h"'),
    ("layering", "core/src/a.cc", "#include <grpcpp/grpcpp.h>"),
    ("layering", "core/src/a.cc", '#include "nursery/v1/job.pb.h"'),
    ("layering", "core/src/a.cc", "#  include <prometheus/counter.h>"),
    ("layering", "core/src/a.cc", "#include <google/protobuf/message.h>"),
    ("layering", "server/engine/a.cc", '#include "server/rpc/call.h"'),
    ("layering", "server/engine/a.cc", '#include "nursery/v1/job_service.grpc.pb.h"'),
    ("layering", "server/engine/a.cc", '#include "server/app.h"'),
    ("layering", "server/spec/a.cc", '#include "server/engine/join.h"'),
    ("layering", "server/store/a.cc", "#include <grpcpp/server.h>"),
    ("layering", "server/warden/a.cc", '#include "nursery/v1/job.pb.h"'),
    ("layering", "server/rpc/a.cc", "#include <prometheus/counter.h>"),
    ("layering", "server/actions/http.cc", "#include <grpcpp/channel.h>"),
    ("layering", "server/app.cc", '#include "nursery/v1/job_service.grpc.pb.h"'),
    ("layering", "client/include/nursery/client/client.h", '#include "nursery/v1/job.pb.h"'),
    ("layering", "client/include/nursery/client/a.h", "grpc::Status status();"),
    ("layering", "client/include/nursery/client/a.h", "google::protobuf::Duration limit;"),
    ("layering", "client/include/nursery/client/a.h", "void Set(const v1::Job& job);"),
    ("layering", "client/include/nursery/client/a.h", "namespace nursery::v1 { class Job; }"),
    ("layering", "client/cli/run.cc", "#include <grpcpp/channel.h>"),
    ("layering", "tests/core/a_test.cc", '#include "server/engine/join.h"'),
    ("coroutine", "a.cc", "if (co_await f()) co_return 1;"),
    ("coroutine", "a.cc", "while (co_await f()) {}"),
    ("coroutine", "a.cc", "switch (co_await f()) {}"),
    ("coroutine", "a.cc", "if (x &&\n    g(1) && co_await f()) {}"),
    ("coroutine", "a.cc", "for (int i : co_await f()) {}"),
    ("coroutine", "a.cc", "for (; co_await f();) {}"),
    ("coroutine", "a.cc", "int x = c ? co_await f() : 0;"),
    ("coroutine", "a.cc", "co_await (c ? f() : g());"),
    ("coroutine", "a.cc", "std::vector<int> v{co_await f(), 1};"),
    ("coroutine", "a.cc", "Message m = {.a = co_await f()};"),
    ("coroutine", "a.cc", "co_await channel.Send(Message{.a = 1});"),
    ("coroutine", "a.cc", "co_await f({1, 2, 3});"),
    ("coroutine", "a.cc", "co_await f(ctx, {.limit = 1});"),
    ("coroutine", "a.cc", "co_await Run([x](int) { return x; });"),
    ("coroutine", "a.cc", "co_await Run([&] { return 1; });"),
    ("coroutine", "a.cc", "co_await Run([x = 1]() mutable { return x; });"),
    ("coroutine", "a.cc", "EXPECT_TRUE(co_await f());"),
    ("coroutine", "a.cc", "auto f = [x]() -> Async<int> { co_return x; };"),
    ("coroutine", "a.cc", "auto f = [&]() -> Async<void> { g(); co_await h(); };"),
    ("coroutine", "a.cc", "auto f = [this](Group& g) -> Async<void> { if (a) { co_return; } };"),
    ("permit", "a.cc", "p = co_await s.Acquire(ctx);\nx = co_await group.Spawn(\"a\", F);"),
    ("permit", "a.cc", "p = co_await s->Acquire(ctx);\nif (a) {\n  x = group->TrySpawn(F);\n}"),
    ("process", "server/engine/a.cc", "const pid_t child = fork();"),
    ("process", "server/actions/exec.cc", "::posix_spawn(&pid, path);"),
    ("process", "client/cli/a.cc", 'system("ls");'),
    ("sleep", "server/engine/a.cc", "std::this_thread::sleep_for(1s);"),
    ("sleep", "tests/engine/a_test.cc", "usleep(1000);"),
    ("sleep", "tests/engine/a_test.cc", "sleep(1);"),
    ("thread", "server/engine/a.cc", "std::thread t(f);"),
    ("thread", "server/rpc/a.cc", "auto t = new std::thread(f);"),
    ("thread", "server/rpc/a.cc", "auto f = std::async(g);"),
    ("thread", "core/src/group.cc", "std::this_thread::yield();"),
    ("detach", "core/src/executor.cc", "thread.detach();"),
    ("time", "server/engine/a.cc", "auto now = std::chrono::steady_clock::now();"),
    ("time", "server/rpc/a.cc", "auto now = absl::Now();"),
    ("background", "server/engine/a.cc", "f(Context::Background(executor));"),
    ("background", "server/rpc/a.cc", "auto c = nursery::Context::Background(executor);"),
    ("guard", "server/engine/a.h", "#ifndef A_H\n#define A_H\n#endif  // A_H\n"),
    ("guard", "server/engine/a.h", "#pragma once\n"),
    ("columns", "a.cc", "int a;\n" + "x" * 101 + "\n"),
    ("columns", "deploy/a.sh", "x" * 101),
    ("function", "a.cc", "void f() {\n" + "  g();\n" * 70 + "}\n"),
    ("function", "a.cc", "namespace {\nA::A(int b) : b_(b) {\n" + "  g();\n" * 70 + "}\n}\n"),
    ("function", "a.cc", "class A {\n  int f() const {\n" + "    g({1});\n" * 70 + "  }\n};\n"),
    ("size", "core/src/a.cc", "\n" * 501),
    ("size", "core/include/nursery/core/a.h", "\n" * 301),
    ("size", "tests/core/a_test.cc", "\n" * 801),
    ("name", "server/engine/string_util.cc", ""),
    ("name", "server/engine/job_manager.h", ""),
    ("name", "server/engine/common.h", ""),
    ("word", "a.cc", "// TODO: later"),
    ("word", "README.md", "see FIXME"),
    ("word", "deploy/a.sh", "cd /wo" "rk/main"),
    ("word", "a.cc", 'open("/ro' 'ot/file");'),
    ("word", "a.cc", 'open("/home/me/file");'),
    ("word", "a.md", "closes issue #12"),
    ("nolint", "a.cc", "int x;  // NOLINT"),
    ("nolint", "a.cc", "// NOLINTNEXTLINE(google-explicit-constructor)\nint x;"),
    ("triple", "core/include/nursery/core/a.h", ""),
    ("triple", "core/src/a.cc", ""),
]

LOOKALIKES = [
    ("core/src/a.cc", '// #include "server/engine/join.h"'),
    ("core/src/a.cc", '#include "nursery/core/check.h"\n#include "absl/status/status.h"'),
    ("server/rpc/a.cc", '#include "nursery/v1/job_service.grpc.pb.h"\n#include <grpcpp/server.h>'),
    ("server/ops/a.cc", "#include <prometheus/counter.h>"),
    ("server/actions/grpc_call.cc", "#include <grpcpp/channel.h>"),
    ("client/cli/run.cc", '#include "server/app.h"\n#include "server/spec/job.h"'),
    ("tests/rpc/a_test.cc", '#include "server/rpc/call.h"\n#include <grpcpp/server.h>'),
    ("a.cc", "const int x = co_await f();\nif (x > 0) co_return 1;"),
    ("a.cc", "co_await f(std::move(message), Tracked(1), {});"),
    ("a.cc", "int y = c ? 1 : 2;\nco_await f(y);"),
    ("a.cc", "for (const Job& job : jobs) {\n  co_await f(job);\n}"),
    ("a.cc", "if (x) {\n  co_await f();\n}"),
    ("a.cc", "while (f(x)) co_await g();\nfor (int i = 0; i < 3; ++i) x = co_await g();"),
    ("a.cc", "co_await f(int64_t{4});"),
    ("a.cc", "run([&](Context c) { return [](decltype(f) g) -> Async<int> { co_return; }(f); });"),
    ("a.cc", "co_await channels[i](1);\nco_await list[0];"),
    ("a.cc", "co_await Run([](Context ctx) -> Async<int> { co_return 1; });"),
    ("a.cc", "auto g = [x] { return [](int y) -> Async<int> { co_return y; }(x); };"),
    ("a.cc", "[[nodiscard]] Async<int> f() { co_return 1; }"),
    ("a.cc", "p = co_await s.Acquire(ctx);\nx = co_await group.SpawnWith(std::move(p), F);"),
    ("a.cc", "p = co_await s.Acquire(ctx);\n}\nvoid g() {\n  x = co_await group.Spawn(F);"),
    ("a.cc", 'LOG("if (co_await f())");  // while (co_await g())'),
    ("a.cc", "R\"(if (co_await f()) sleep(1);)\";"),
    ("server/warden/a.cc", "const pid_t child = fork();\nauto now = steady_clock::now();"),
    ("server/engine/a.cc", "warden.fork();\nauto copy = node->clone();\nSleep(ctx, 1s);"),
    ("server/engine/a.cc", "asleep(1);\nco_await nursery::Sleep(ctx, 10'000ms);"),
    ("core/src/executor.cc", "std::vector<std::thread> threads_;"),
    ("tests/core/a_test.cc", "std::thread t(f);\nContext::Background(executor);"),
    ("client/cli/main.cc", "Run(Context::Background(executor));"),
    ("a.cc", "x" * 100 + "\n"),
    ("a.cc", "void f() {\n" + "  g();\n" * 68 + "}\n"),
    ("a.cc", "void f();\n" * 80 + "namespace a {\n" + "int x;\n" * 80 + "}\n"),
    ("a.cc", "class A {\n" + "  int f() { return 1; }\n" * 80 + "};\n"),
    ("core/src/a.cc", "\n" * 500),
    ("server/engine/utility_functions_of_nodes.cc", ""),
    ("a.cc", "// the homework/ and network/ of todos\n"),
    ("a.cc", "// NOLINTNEXTLINE(google-explicit-constructor): a string is a name\nint x;"),
    ("server/engine/a.h",
     "// About.\n#ifndef NURSERY_SERVER_ENGINE_A_H_\n#define NURSERY_SERVER_ENGINE_A_H_\n"
     "#endif  // NURSERY_SERVER_ENGINE_A_H_\n"),
]

# Rules that look at more than one file, or at a whole one, which the snippets are not.
WHOLE_FILE = {"triple", "guard"}


def violations_in(path, text):
    return list(check_rules.find_violations([sources.Source(path, text)]))


class PlantedTest(unittest.TestCase):
    def test_every_planted_violation_is_found(self):
        for rule, path, text in PLANTED:
            with self.subTest(rule=rule, path=path, text=text[:80]):
                self.assertIn(rule, [found.rule for found in violations_in(path, text)])

    def test_every_rule_has_a_planted_violation(self):
        planted = {rule for rule, _, _ in PLANTED}
        found = {found.rule for _, path, text in PLANTED for found in violations_in(path, text)}
        self.assertEqual(planted, found)

    def test_lookalikes_are_left_alone(self):
        for path, text in LOOKALIKES:
            with self.subTest(path=path, text=text[:80]):
                found = [v for v in violations_in(path, text) if v.rule not in WHOLE_FILE]
                self.assertEqual([], [str(violation) for violation in found])

    def test_a_violation_names_its_line(self):
        text = '/* one\n * two */\nconst char* s = R"(\n)";\nusleep(1);\n'
        self.assertEqual([5], [v.line for v in violations_in("server/a.cc", text)])

    def test_every_layer_is_one_that_files_can_be_in(self):
        known = {owner for _, owner in layering.OWNERS}
        for prefix, allowed in layering.LAYERS:
            for layer in allowed:
                with self.subTest(prefix=prefix, layer=layer):
                    self.assertTrue(layer in known or layer.startswith("server"))


class GuardTest(unittest.TestCase):
    def test_guards_follow_the_path_of_the_include(self):
        for path, guard in (
            ("core/include/nursery/core/check.h", "NURSERY_CORE_CHECK_H_"),
            ("core/include/nursery/core/internal/list.h", "NURSERY_CORE_INTERNAL_LIST_H_"),
            ("core/testing/include/nursery/testing/seeds.h", "NURSERY_TESTING_SEEDS_H_"),
            ("client/include/nursery/client/client.h", "NURSERY_CLIENT_CLIENT_H_"),
            ("server/engine/join.h", "NURSERY_SERVER_ENGINE_JOIN_H_"),
        ):
            self.assertEqual(guard, shape.guard_of(path))


class TripleTest(unittest.TestCase):
    def test_a_whole_triple_is_left_alone(self):
        paths = ("core/include/nursery/core/a.h", "core/src/a.cc", "tests/core/a_test.cc",
                 "core/include/nursery/core/internal/b.h", "core/src/b.cc")
        found = shape.check_triples([sources.Source(path, "") for path in paths])
        self.assertEqual([], list(found))


class ExceptionsTest(unittest.TestCase):
    VIOLATION = sources.Violation("a.cc", 3, "size", "600 lines")

    def remaining(self, text):
        exceptions = check_rules.read_exceptions(text)
        return list(check_rules.apply_exceptions([self.VIOLATION], exceptions))

    def test_an_exception_covers_its_file_and_rule(self):
        self.assertEqual([], self.remaining("# why\n\na.cc size one table, nothing to split\n"))

    def test_an_exception_covers_nothing_else(self):
        remaining = self.remaining("a.cc columns a long table\n")
        self.assertEqual(["size", "exception"], [violation.rule for violation in remaining])

    def test_an_exception_needs_a_reason(self):
        with self.assertRaises(ValueError):
            check_rules.read_exceptions("a.cc size\n")


class ReadSourcesTest(unittest.TestCase):
    def test_ignored_and_binary_files_are_not_read(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            subprocess.run(["git", "init", "-q", root], check=True)
            (root / ".gitignore").write_text("build/\n")
            (root / "build").mkdir()
            (root / "build" / "a.cc").write_text("sleep(1);")
            (root / "new.cc").write_text("sleep(1);")
            (root / "binary.cc").write_bytes(b"\xff\xfe\x00")
            found = [source.path for source in sources.read_sources(root)]
        self.assertEqual([".gitignore", "new.cc"], found)


if __name__ == "__main__":
    unittest.main()
