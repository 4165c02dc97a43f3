"""Prints the C++ blocks of a Markdown file, but for those that say why they are not compiled."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import markdown


def main():
    path = pathlib.Path(sys.argv[1])
    blocks = markdown.blocks_of(path.name, path.read_text(encoding="utf-8"))
    for block in blocks:
        if block.language == "cpp" and block.key != "not run":
            # Errors are reported at the document's line.
            print(f'#line {block.line + 1} "{path}"')
            print(block.body)


if __name__ == "__main__":
    main()
