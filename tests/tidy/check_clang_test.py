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
        for name in ("ROOT", "BUILD"):
            self.addCleanup(setattr, check_clang, name, getattr(check_clang, name))
            setattr(check_clang, name, self.root)

    def failures(self, command, text, cached_with=None):
        path = self.root / "planted.cc"
        path.write_text(text, encoding="utf-8")
        entry = {"directory": str(self.root), "file": str(path),
                 "command": f"clang++-19 -std=c++20 -o planted.cc.o -c {path}"}
        (self.root / "tidy").mkdir(exist_ok=True)
        (self.root / "tidy" / "compile_commands.json").write_text(json.dumps([entry]))
        cache = None
        if cached_with is not None:
            cache = check_clang.CleanCache(command, {str(path): entry}, self.root / "cache")
            cache.dependencies = {"planted.cc.o": cached_with}
        with contextlib.redirect_stdout(io.StringIO()):
            return check_clang.run_each(command, [str(path)], cache)

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

    def test_what_was_clean_is_looked_at_again_when_a_file_it_includes_changes(self):
        header = self.root / "included.h"
        text = '#include "included.h"\nbool Two(int x) { return One(x); }\n'
        for body, failures in (("x > 1", 0), ("x > 1", 0), ("x == x", 1), ("x == x", 1)):
            header.write_text(f"inline bool One(int x) {{ return {body}; }}\n", encoding="utf-8")
            command = check_clang.tidy_command("--header-filter=.*")
            self.assertEqual(failures, self.failures(command, text, [str(header)]), body)
        self.assertEqual(1, len(list((self.root / "cache").iterdir())))

    def test_sources_whose_dependencies_are_unknown_are_always_looked_at(self):
        self.assertEqual(0, self.failures(check_clang.tidy_command(), "int x;\n", []))
        self.assertEqual(0, len(list((self.root / "cache").iterdir())))

    def test_a_changed_header_has_its_source_and_test_checked(self):
        compiled = ["core/src/a.cc", "core/src/b.cc", "tests/core/a_test.cc", "tests/core/c.cc"]
        changed = {"core/include/nursery/core/a.h", "core/src/b.cc", "README.md"}
        self.assertEqual(compiled[:3], check_clang.changed_sources(changed, compiled))


if __name__ == "__main__":
    unittest.main()
