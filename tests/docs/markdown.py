"""The fenced blocks of a Markdown file, with the comments above them that steer the tests.

<!-- not run: REASON -->   the commands below are not executed, and why
<!-- exit: N -->           the last command below exits with N instead of 0
<!-- file: NAME -->        the block below is a file, written before the next command runs
"""

import dataclasses
import re

FENCE = re.compile(
    r"(?:^<!-- (?P<key>not run|exit|file): (?P<value>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.M | re.S,
)
COMMANDS = ("sh", "console", "bash", "shell")


@dataclasses.dataclass(frozen=True)
class Block:
    path: str
    line: int
    language: str
    key: str  # of the comment above, or None
    value: str
    body: str

    @property
    def is_command(self):
        return self.language in COMMANDS

    @property
    def script(self):
        """The commands: of a console block those after the prompt, without what they print."""
        if self.language != "console":
            return self.body
        return "".join(line[2:] + "\n" for line in self.body.splitlines() if line[:2] == "$ ")


def blocks_of(path, text):
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(path, line, match["language"], match["key"], match["value"], match["body"])


def anchors_of(text):
    """The anchors of a file's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in headings}


def links_of(text):
    """(target, line) of the links to files and headings of the project."""
    for match in re.finditer(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", match[1]):
            yield match[1], text.count("\n", 0, match.start()) + 1
