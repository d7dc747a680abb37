"""Values in GVariant's text format, as annotations have them, for D-Bus (docs.gtk.org/glib/gvariant-text-format.html).

Strict: what isn't understood whole is refused. Not there: maybe types, which D-Bus hasn't, and positional `{key, value}` entries.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # A D-Bus signature, and a value that jeepney writes for it.
    Typed = tuple[str, Any]

KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t",
    "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
RANGES = {
    "y": (0, 2**8 - 1), "n": (-(2**15), 2**15 - 1), "q": (0, 2**16 - 1), "i": (-(2**31), 2**31 - 1), "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1), "t": (0, 2**64 - 1),
}  # fmt: skip
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
DEEPEST = 32  # the D-Bus specification's limit for arrays
_DIGITS = frozenset("0123456789")
_NUMERIC = frozenset("0123456789abcdefABCDEFxX+-.")


def parse(text: str) -> "Typed":
    """A value and its type.

    Raises ValueError that says what is wrong, and where.
    """
    parser = _Parser(text)
    node = parser.value(0)
    parser.skip()
    if parser.at < len(text):
        raise parser.wrong("something follows the value")
    signature = _type_of(node, None)
    return signature, _as(node, signature)


class _Node:
    """A value whose type isn't quite known yet: `[1, uint64 2]` is an array of uint64.

    Attributes:
        kind: "number", "float", "bool", "string", "bytes", "array", "tuple", "dict" or "variant".
        value: Python's, or the nodes inside.
        type: the signature that was written before it; None: none was.
    """

    __slots__ = ("kind", "type", "value")

    def __init__(self, kind: str, value: "Any", signature: "str | None" = None) -> None:
        self.kind = kind
        self.value = value
        self.type = signature


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def wrong(self, message: str) -> ValueError:
        return ValueError(f"{message} (at character {self.at + 1})")

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\n\r":
            self.at += 1

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def take(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.at += 1
        return True

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise self.wrong(f"{wanted!r} is missing")

    def value(self, depth: int) -> _Node:
        if depth > DEEPEST:
            raise self.wrong("too deep")
        char = self.peek()
        if char == "@":
            self.at += 1
            return self.typed(self.signature(), depth)
        if char == "[":
            return self.array(depth)
        if char == "(":
            return self.tuple(depth)
        if char == "{":
            return self.dict(depth)
        if char == "<":
            self.at += 1
            inner = self.value(depth + 1)
            self.need(">")
            return _Node("variant", inner)
        if char in ("'", '"'):
            return _Node("string", self.string())
        if char in _DIGITS or (char and char in "+-."):
            return self.number()
        return self.word(depth)

    def word(self, depth: int) -> _Node:
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isalnum():
            self.at += 1
        word = self.text[start : self.at]
        if word == "b" and self.text[self.at : self.at + 1] in ("'", '"'):
            return _Node("bytes", self.string().encode("latin-1", "strict") + b"\0")
        if word in ("true", "false"):
            return _Node("bool", word == "true")
        if word in KEYWORDS:
            return self.typed(KEYWORDS[word], depth)
        self.at = start
        raise self.wrong(f"{word!r} is no value" if word else "a value is missing")

    def typed(self, signature: str, depth: int) -> _Node:
        node = self.value(depth + 1)
        return _Node(
            node.kind, node.value, signature if node.type is None else _same(self, signature, node.type)
        )

    def signature(self) -> str:
        start = self.at
        self.skip_type(0)
        return self.text[start : self.at]

    def skip_type(self, depth: int) -> None:
        """Go past one complete type."""
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if depth > DEEPEST or not char or char not in "ybnqiuxtdsogva(":
            raise self.wrong("not a type of D-Bus")
        if char == "a" and self.text[self.at : self.at + 1] == "{":
            self.at += 1
            if self.text[self.at : self.at + 1] not in tuple("ybnqiuxtdsog"):
                raise self.wrong("not a type for a key")
            self.at += 1
            self.skip_type(depth + 1)
            self.need("}")
        elif char == "a":
            self.skip_type(depth + 1)
        elif char == "(":
            if self.text[self.at : self.at + 1] == ")":
                raise self.wrong("D-Bus has no empty tuple")
            while self.text[self.at : self.at + 1] != ")":
                self.skip_type(depth + 1)
            self.at += 1

    def array(self, depth: int) -> _Node:
        self.need("[")
        return _Node("array", self.items("]", depth))

    def items(self, end: str, depth: int) -> "list[_Node]":
        found: "list[_Node]" = []
        while not self.take(end):
            if found:
                self.need(",")
            found.append(self.value(depth + 1))
        return found

    def tuple(self, depth: int) -> _Node:
        self.need("(")
        first = self.value(depth + 1)
        found = [first]
        while not self.take(")"):
            self.need(",")
            if len(found) == 1 and self.take(")"):
                break  # "(1,)", as in Python
            found.append(self.value(depth + 1))
        else:
            if len(found) == 1:
                raise self.wrong("a tuple of one has a comma")
        return _Node("tuple", found)

    def dict(self, depth: int) -> _Node:
        self.need("{")
        found: "list[tuple[_Node, _Node]]" = []
        while not self.take("}"):
            if found:
                self.need(",")
            key = self.value(depth + 1)
            self.need(":")
            found.append((key, self.value(depth + 1)))
        return _Node("dict", found)

    def number(self) -> _Node:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _NUMERIC:
            self.at += 1
        text = self.text[start : self.at]
        digits = text.lstrip("+-")
        try:
            if len(text) - len(digits) > 1:
                raise ValueError
            if digits[:2] in ("0x", "0X"):
                return _Node("number", int(text, 16))
            if "." in digits or "e" in digits.lower():
                return _Node("float", float(text))
            octal = len(digits) > 1 and digits[0] == "0"
            return _Node("number", int(text, 8 if octal else 10))
        except ValueError:
            self.at = start
            raise self.wrong(f"{text!r} is no number") from None

    def string(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        parts: "list[str]" = []
        while True:
            char = self.text[self.at : self.at + 1]
            self.at += 1
            if not char:
                raise self.wrong("the string does not end")
            if char == quote:
                return "".join(parts)
            if char == "\0":
                raise self.wrong("D-Bus has no NUL in strings")
            parts.append(self.escape() if char == "\\" else char)

    def escape(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char in ("u", "U"):
            length = 4 if char == "u" else 8
            digits = self.text[self.at : self.at + length]
            self.at += length
            try:
                code = int(digits, 16) if digits.isalnum() and len(digits) == length else -1
                if not 0 < code < 0x110000 or 0xD800 <= code < 0xE000:
                    raise ValueError
                return chr(code)
            except ValueError:
                raise self.wrong(f"\\{char}{digits} is no character") from None
        if not char:
            raise self.wrong("the string does not end")
        return ESCAPES.get(char, char)


def _same(parser: _Parser, outer: str, inner: str) -> str:
    if outer != inner:
        raise parser.wrong(f"it can't be {outer} and {inner}")
    return outer


def _type_of(node: _Node, wanted: "str | None") -> str:
    """The type of a node; what is written in it decides, else int32, double, string.

    Raises ValueError if it contradicts itself.
    """
    if node.type is not None:
        return node.type
    if node.kind == "array":
        return "a" + _common([*node.value], "the array")
    if node.kind == "dict":
        keys = _common([key for key, _ in node.value], "the dictionary")
        if keys not in tuple("ybnqiuxtdsog"):
            raise ValueError(f"a dictionary's key can't be of the type {keys}")
        return f"a{{{keys}{_common([value for _, value in node.value], 'the dictionary')}}}"
    if node.kind == "tuple":
        return f"({''.join(_type_of(item, None) for item in node.value)})"
    simple = {"number": "i", "float": "d", "bool": "b", "string": "s", "bytes": "ay", "variant": "v"}
    return simple[node.kind]


def _common(nodes: "list[_Node]", what: str) -> str:
    """The type that all of the nodes can have."""
    if not nodes:
        raise ValueError(f"{what} is empty: its type has to be written before it, as in @as []")
    last: "ValueError | None" = None
    # What some item says outright is tried first; what only follows from the form of another may fit, too.
    for candidate in sorted(
        {_type_of(node, None) for node in nodes}, key=lambda kind: kind in ("i", "d", "s")
    ):
        try:
            for node in nodes:
                _as(node, candidate)
            return candidate
        except ValueError as error:
            last = error
    raise ValueError(f"{what} has values of different types") from last


def _as(node: _Node, signature: str) -> "Any":
    """The node's value as that type. Raises ValueError."""
    if node.type is not None and node.type != signature:
        raise ValueError(f"a value of the type {node.type} where {signature} is wanted")
    if node.kind == "number" and signature in RANGES:
        low, high = RANGES[signature]
        if not low <= node.value <= high:
            raise ValueError(f"{node.value} is not within {low} to {high}")
        return node.value
    if node.kind in ("number", "float") and signature == "d":
        return float(node.value)
    if node.kind == "bool" and signature == "b":
        return node.value
    if node.kind == "string" and signature in ("s", "o", "g"):
        return node.value
    if node.kind == "bytes" and signature == "ay":
        return node.value
    if node.kind == "variant" and signature == "v":
        kind = _type_of(node.value, None)
        return kind, _as(node.value, kind)
    if node.kind == "array" and signature[0] == "a" and signature[1] != "{":
        values = [_as(item, signature[1:]) for item in node.value]
        return bytes(values) if signature == "ay" else values
    if node.kind == "dict" and signature[:2] == "a{":
        return {_as(key, signature[2]): _as(value, signature[3:-1]) for key, value in node.value}
    if node.kind == "tuple" and signature[0] == "(":
        kinds = _split(signature[1:-1])
        if len(kinds) == len(node.value):
            return tuple(_as(item, kind) for item, kind in zip(node.value, kinds, strict=True))
    raise ValueError(f"a {node.kind} where {signature} is wanted")


def _split(signature: str) -> "list[str]":
    """The complete types of which a signature consists."""
    parser, kinds = _Parser(signature), []
    while parser.at < len(signature):
        kinds.append(parser.signature())
    return kinds
