"""Planted findings that clang-format and the short and the long list of clang-tidy must report."""

import contextlib
import io
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_clang

COROUTINE = """#include <coroutine>

struct Async {
  struct promise_type {
    Async get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

void Start(int x) {
  auto run = [CAPTURE](int) -> Async { co_return; };
  run(x);
}
"""


class CheckClangTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        for config in (".clang-format", ".clang-tidy"):
            shutil.copy(check_clang.ROOT / config, self.root)
        build = check_clang.BUILD
        self.addCleanup(setattr, check_clang, "BUILD", build)
        check_clang.BUILD = self.root

    def failures(self, command, text):
        path = self.root / "planted.cc"
        path.write_text(text, encoding="utf-8")
        entry = {"directory": str(self.root), "file": str(path),
                 "command": f"clang++-19 -std=c++20 -c {path}"}
        (self.root / "compile_commands.json").write_text(json.dumps([entry]))
        with contextlib.redirect_stdout(io.StringIO()):
            return check_clang.run_each(command, [str(path)])

    def test_a_badly_formatted_file_is_found(self):
        command = ["clang-format-19", "--dry-run", "-Werror"]
        self.assertEqual(1, self.failures(command, "int  x;\n"))
        self.assertEqual(0, self.failures(command, "int x;\n"))

    def test_the_short_list_finds_a_capturing_coroutine(self):
        command = check_clang.tidy_command(
            f"--checks={check_clang.SHORT_LIST}", "--warnings-as-errors=*"
        )
        self.assertEqual(1, self.failures(command, COROUTINE.replace("CAPTURE", "x")))
        self.assertEqual(0, self.failures(command, COROUTINE.replace("CAPTURE", "")))

    def test_the_long_list_finds_what_the_short_one_does_not(self):
        text = "bool Same(int x) { return x == x; }\n"
        self.assertEqual(1, self.failures(check_clang.tidy_command(), text))

    def test_a_changed_header_has_its_source_and_test_checked(self):
        compiled = ["core/src/a.cc", "core/src/b.cc", "tests/core/a_test.cc", "tests/core/c.cc"]
        changed = {"core/include/nursery/core/a.h", "core/src/b.cc", "README.md"}
        self.assertEqual(compiled[:3], check_clang.changed_sources(changed, compiled))


if __name__ == "__main__":
    unittest.main()
