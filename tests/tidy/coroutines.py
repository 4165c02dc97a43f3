"""Forms of co_await that g++ 12 miscompiles, and lambdas that a coroutine outlives.

The rules stand in CONTRIBUTING.md. They are wider than the compiler's bugs: what is forbidden is a
form that a reader can tell at a glance.
"""

import re

CAPTURES = r"(?<![\w\])\[])\[[^\[\]]+\]"  # not an index, not an attribute
PARAMETERS = r"\s*(?:\((?:[^()]|\([^()]*\))*\))?[^;{}()]*\{"
SCALAR = r"(?<!int)(?<!_t)(?<!bool)(?<!double)"  # int64_t{4} is no aggregate

PATTERNS = [
    (r"\?[^;{}]*\bco_await\b", "co_await in or behind ?:"),
    (r"\bco_await\b[^;{}]*\?", "?: in an awaited expression"),
    (r"\{[^;{}]*\bco_await\b[^;{}]*\}", "co_await in braces"),
    (r"\bco_await\b[^;{}]*\w" + SCALAR + r"\{[^}]",
     "an aggregate temporary in an awaited expression"),
    (r"\bco_await\b[^;{}]*[(,]\s*\{[^}]", "a braced list in an awaited expression"),
    (r"\bco_await\b[^;{}]*" + CAPTURES + r"\s*(?:\(|\{|->|mutable\b)",
     "a capturing lambda in an awaited expression"),
    (r"\b[A-Z][A-Z0-9_]{2,}\s*\([^;{}]*\bco_await\b", "co_await in a macro's argument"),
]
COMPILED = [(re.compile(pattern), message) for pattern, message in PATTERNS]
HEAD = re.compile(r"\b(?:if|while|switch|for)\s*(?:constexpr\s*)?\(")
LAMBDA = re.compile(CAPTURES + PARAMETERS)
ANY_LAMBDA = re.compile(r"(?<![\w\])\[])\[[^\[\]]*\]" + PARAMETERS)
AWAITS = re.compile(r"\bco_(?:await|return|yield)\b")


def closing(code, begin, brackets):
    """The offset behind the bracket that closes the one at `begin`."""
    depth = 0
    for match in re.finditer(f"[{re.escape(brackets)}]", code[begin:]):
        depth += 1 if match.group() == brackets[0] else -1
        if depth == 0:
            return begin + match.end()
    return len(code)


def without_inner_lambdas(body):
    """The body of a lambda without the lambdas in it."""
    inner = ANY_LAMBDA.search(body)
    if not inner:
        return body
    end = closing(body, inner.end() - 1, "{}")
    return body[: inner.start()] + without_inner_lambdas(body[end:])


def check_heads(source):
    for match in HEAD.finditer(source.code):
        head = source.code[match.end() - 1 : closing(source.code, match.end() - 1, "()")]
        if re.search(r"\bco_await\b", head):
            yield source.violation("coroutine", match.start(), "co_await in a head")


def check(source):
    if not source.is_cpp or "co_" not in source.code:
        return
    code = source.code
    yield from check_heads(source)
    for pattern, message in COMPILED:
        for match in pattern.finditer(code):
            yield source.violation("coroutine", match.start(), message)
    for match in LAMBDA.finditer(code):
        begin = match.end() - 1
        if AWAITS.search(without_inner_lambdas(code[begin + 1 : closing(code, begin, "{}")])):
            yield source.violation("coroutine", match.start(), "a coroutine lambda with captures")
