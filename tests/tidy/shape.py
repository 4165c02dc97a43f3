"""Names, sizes, guards and words: what a file looks like from outside."""

import re

COLUMNS = 100
FUNCTION_LINES = 70
HEADER_LINES, SOURCE_LINES, TEST_LINES = 300, 500, 800

FORBIDDEN_WORDS = re.compile(
    r"\b(?:TODO|FIXME|XXX|HACK)\b|"
    r"\b(?:issue|ticket|PR|pull request)\s*#\d+|"
    r"\b(?:sub-?agents?|reviewers?|co-authored-by|language model|as an AI)\b|"
    r"(?<![\w.~-])/(?:work|root|home/\w+)/"
)
FORBIDDEN_NAMES = re.compile(r"(?:^|_)(?:utils?|managers?|helpers?|common|misc)(?:_|\.|$)")
NOLINT = re.compile(r"NOLINT(?:NEXTLINE|BEGIN)?\b(?P<reasoned>\([\w.*,\s-]+\): \S)?")
CONTAINER = re.compile(
    r"\b(?:namespace|class|struct|union|enum|extern)\b[^;(){}]*(?:\([^()]*\)[^;(){}]*)*$"
)


def guard_of(path):
    path = re.sub(r"^\w+(?:/\w+)?/include/nursery/", "", path)
    return "NURSERY_" + re.sub(r"\W", "_", path.removesuffix(".h")).upper() + "_H_"


def check_guard(source):
    guard = guard_of(source.path)
    head = rf"#ifndef {guard}\n#define {guard}\n"
    if not re.search(head, source.code) or not source.text.endswith(f"#endif  // {guard}\n"):
        yield source.violation("guard", 0, f"the header guard is not {guard}")


def function_bodies(code):
    """(begin, end) of every outermost body that is not one of a namespace or type."""
    body, depth, start = None, 0, 0
    for match in re.finditer(r"[{};]", code):
        if match.group() == "{":
            if body is None and not CONTAINER.search(code[start : match.start()]):
                body, depth = match.start(), 0
            depth += body is not None
        elif match.group() == "}" and body is not None:
            depth -= 1
            if depth == 0:
                yield body, match.end()
                body = None
        if body is None:
            start = match.end()


def check_sizes(source):
    lines = source.text.count("\n")
    if source.below("tests/"):
        limit = TEST_LINES
    else:
        limit = HEADER_LINES if source.is_header else SOURCE_LINES
    if lines > limit:
        yield source.violation("size", 0, f"{lines} lines, look again above {limit}")
    for begin, end in function_bodies(source.code) if source.is_cpp else ():
        length = source.code.count("\n", begin, end) + 1
        if length > FUNCTION_LINES:
            message = f"a function of {length} lines, look again above {FUNCTION_LINES}"
            yield source.violation("function", begin, message)


def check_columns(source):
    for number, line in enumerate(source.text.split("\n")):
        if len(line) > COLUMNS and not re.match(r"\s*(?://|#)\s*(?:NOLINT|https?:)", line):
            offset = sum(map(len, source.text.split("\n")[:number])) + number
            yield source.violation("columns", offset, f"{len(line)} columns", source.text)


def check_words(source):
    for match in FORBIDDEN_WORDS.finditer(source.text):
        yield source.violation("word", match.start(), match.group(), source.text)


def check_nolint(source):
    for match in NOLINT.finditer(source.text):
        if not match["reasoned"]:
            message = "name the check and the reason: NOLINT(check): reason"
            yield source.violation("nolint", match.start(), message, source.text)


def check(source):
    is_script = source.path.endswith((".py", ".sh")) or source.path == ".ci/run"
    if source.is_cpp or is_script:
        yield from check_sizes(source)
        yield from check_columns(source)
        if FORBIDDEN_NAMES.search(source.path.rsplit("/", 1)[-1]):
            yield source.violation("name", 0, "say what the file is about")
    if source.is_cpp:
        yield from check_nolint(source)
    if source.is_header:
        yield from check_guard(source)
    # This directory has to spell what it forbids.
    if source.path != "LICENSE" and not source.below("tests/tidy/"):
        yield from check_words(source)


def check_triples(sources):
    """A public header of core has a test of the same stem, a source of core a header."""
    paths = {source.path: source for source in sources}
    for path, source in paths.items():
        header = re.fullmatch(r"core/include/nursery/core/(\w+)\.h", path)
        if header and f"tests/core/{header[1]}_test.cc" not in paths:
            yield source.violation("triple", 0, f"no tests/core/{header[1]}_test.cc")
        body = re.fullmatch(r"core/src/(\w+)\.cc", path)
        if body and not any(
            f"core/include/nursery/core/{inner}{body[1]}.h" in paths for inner in ("", "internal/")
        ):
            yield source.violation("triple", 0, f"no header {body[1]}.h in core")
