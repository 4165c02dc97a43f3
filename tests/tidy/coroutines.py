"""Forms of co_await that g++ 12 miscompiles, and lambdas that a coroutine outlives.

The rules stand in CONTRIBUTING.md. They are wider than the compiler's bugs: what is forbidden is a
form that a reader can tell at a glance.
"""

import re

CAPTURES = r"(?<![\w\])\[])\[[^\[\]]+\]"  # not an index, not an attribute

PATTERNS = [
    (r"\b(?:if|while|switch)\s*\([^;{}]*\bco_await\b", "co_await in a condition"),
    (r"\bfor\s*\([^{}]*\bco_await\b", "co_await in the head of a for"),
    (r"\?[^;{}]*\bco_await\b", "co_await in or behind ?:"),
    (r"\bco_await\b[^;{}]*\?", "?: in an awaited expression"),
    (r"\{[^;{}]*\bco_await\b[^;{}]*\}", "co_await in braces"),
    (r"\bco_await\b[^;{}]*\w\{[^}]", "an aggregate temporary in an awaited expression"),
    (r"\bco_await\b[^;{}]*[(,]\s*\{[^}]", "a braced list in an awaited expression"),
    (r"\bco_await\b[^;{}]*" + CAPTURES + r"\s*(?:\(|\{|->|mutable\b)",
     "a capturing lambda in an awaited expression"),
    (r"\b[A-Z][A-Z0-9_]{2,}\s*\([^;{}]*\bco_await\b", "co_await in a macro's argument"),
]
COMPILED = [(re.compile(pattern), message) for pattern, message in PATTERNS]
LAMBDA = re.compile(CAPTURES + r"\s*(?:\((?:[^()]|\([^()]*\))*\))?[^;{}()]*\{")
AWAITS = re.compile(r"\bco_(?:await|return|yield)\b")


def body_end(code, begin):
    """The offset behind the brace that closes the one at `begin`."""
    depth = 0
    for match in re.finditer(r"[{}]", code[begin:]):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return begin + match.end()
    return len(code)


def without_inner_lambdas(body):
    """The body of a lambda without the bodies of the lambdas in it."""
    inner = re.search(r"(?<![\w\])\[])\[[^\[\]]*\]\s*(?:\([^()]*\))?[^;{}()]*\{", body)
    if not inner:
        return body
    end = body_end(body, inner.end() - 1)
    return body[: inner.start()] + without_inner_lambdas(body[end:])


def check(source):
    if not source.is_cpp or "co_" not in source.code:
        return
    code = source.code
    for pattern, message in COMPILED:
        for match in pattern.finditer(code):
            yield source.violation("coroutine", match.start(), message)
    for match in LAMBDA.finditer(code):
        begin = match.end() - 1
        if AWAITS.search(without_inner_lambdas(code[begin + 1 : body_end(code, begin)])):
            yield source.violation("coroutine", match.start(), "a coroutine lambda with captures")
