"""The documents: every command is run or says why not, every link leads somewhere."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import markdown

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "core/README.md")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


class DocumentsTest(unittest.TestCase):
    def test_links_lead_to_files_and_headings(self):
        for name in DOCUMENTS:
            for target, line in markdown.links_of(text_of(name)):
                path, _, anchor = target.partition("#")
                file = (ROOT / name).parent / path if path else ROOT / name
                with self.subTest(document=name, line=line, target=target):
                    self.assertTrue(file.exists())
                    if anchor:
                        self.assertIn(anchor, markdown.anchors_of(file.read_text()))

    def test_a_fence_with_commands_has_a_language(self):
        for name in DOCUMENTS:
            for block in markdown.blocks_of(name, text_of(name)):
                with self.subTest(document=name, line=block.line):
                    self.assertFalse(not block.language and block.body.startswith("$ "))

    def test_the_map_names_directories_that_exist(self):
        chapter = text_of("ARCHITECTURE.md").partition("## Map")[2]
        tree = next(markdown.blocks_of("ARCHITECTURE.md", chapter)).body
        for line in tree.splitlines():
            if line and not line.startswith(" "):
                self.assertTrue((ROOT / line.split()[0]).is_dir(), line)

    def test_licence_is_the_apache_licence(self):
        self.assertIn("Apache License\n                           Version 2.0", text_of("LICENSE"))

    def test_lines_of_prose_fit(self):
        for name in DOCUMENTS:
            for number, line in enumerate(text_of(name).splitlines(), start=1):
                if not line.startswith("|"):
                    self.assertLessEqual(len(line), 100, f"{name}:{number}")


class MarkdownTest(unittest.TestCase):
    TEXT = (
        "# One thing\n<!-- not run: why -->\n```sh\na\n```\n```console\n$ b\nprinted\n$ c\n```\n"
        "<!-- exit: 3 -->\n```sh\nd\n```\n<!-- file: x.yaml -->\n```yaml\ne: 1\n```\n"
        "[in](#one-thing) [out](https://example.org) [file](x.md#y)\n"
    )

    def test_blocks_have_their_comments(self):
        blocks = list(markdown.blocks_of("a.md", self.TEXT))
        keys = [(block.key, block.value) for block in blocks]
        self.assertEqual(
            [("not run", "why"), (None, None), ("exit", "3"), ("file", "x.yaml")], keys
        )
        self.assertEqual([True, True, True, False], [block.is_command for block in blocks])
        self.assertEqual("b\nc\n", blocks[1].script)
        self.assertEqual([3, 6, 12, 16], [block.line for block in blocks])

    def test_links_and_anchors(self):
        self.assertEqual({"one-thing"}, markdown.anchors_of(self.TEXT))
        self.assertEqual(["#one-thing", "x.md#y"],
                         [target for target, _ in markdown.links_of(self.TEXT)])


if __name__ == "__main__":
    unittest.main()
