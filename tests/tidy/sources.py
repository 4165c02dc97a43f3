"""The project's files, and C++ text without what the rules must not look at."""

import dataclasses
import functools
import pathlib
import re
import subprocess

CPP_SUFFIXES = (".h", ".cc")
SCRIPT_SUFFIXES = (".py", ".sh")

# A number comes before a character literal, for the sake of 10'000.
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^\s()\\]{0,16})\(.*?\)(?P=mark)"|"""
    r""""(?:\\.|[^"\\\n])*"|\b\d[\w.']*|'(?:\\.|[^'\\\n])+'""",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Violation:
    path: str
    line: int
    rule: str
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def blank(match):
    """Comments vanish, literals become empty; the lines stay where they are."""
    text = match.group()
    if text[0].isdigit():
        return text
    newlines = "\n" * text.count("\n")
    return newlines if text.startswith("/") else '""' + newlines


@dataclasses.dataclass(frozen=True)
class Source:
    path: str  # from the root of the project, with slashes
    text: str

    @functools.cached_property
    def code(self):
        """C++ without comments and the contents of literals, line for line. #include lines stay."""
        includes = re.sub(r'^(\s*#\s*include\s*)"([^"\n]*)"', r"\1<\2>", self.text, flags=re.M)
        return TOKEN.sub(blank, includes)

    @property
    def is_cpp(self):
        return self.path.endswith(CPP_SUFFIXES)

    @property
    def is_header(self):
        return self.path.endswith(".h")

    def below(self, *prefixes):
        return self.path.startswith(prefixes)

    def line_of(self, offset, text=None):
        return (self.code if text is None else text).count("\n", 0, offset) + 1

    def violation(self, rule, offset, message, text=None):
        return Violation(self.path, self.line_of(offset, text), rule, message)


def read_sources(root):
    """All text files that are tracked, or would be if they were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    sources = []
    for path in sorted(set(filter(None, listed.split("\0")))):
        try:
            sources.append(Source(path, (pathlib.Path(root) / path).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, deleted but not yet staged, or a submodule
    return sources
