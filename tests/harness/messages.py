"""What the program says to people when something is wrong: found in its code, not kept twice.

A message is a template: its constant words, with … where a value comes. An error's is that of its
first part, what happened. Where code chooses between words, each choice is a message of its own.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GAP = "…"
LEVELS = ("warning", "error", "exception", "critical")
_FORMAT = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?[sdifgeGrxc]")
Scope = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Message:
    """One message, the place that gives it, and what an error says behind it."""

    text: str
    place: str
    rest: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """The row that the runbook lacks when it lacks this message."""
        return f"| `{self.text}` | {' | '.join(self.rest) or 'MEANING | WHAT TO DO'} |"


def matches(symptom: str, message: str) -> bool:
    """Whether a symptom, which may leave values and words out by …, is a message.

    Its parts have to stand in the message in their order, and to be half of its letters at least.
    """
    at, letters = 0, 0
    for part in filter(None, (part.strip() for part in symptom.split(GAP))):
        found = message.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
        letters += _letters(part)
    return letters > 0 and 2 * letters >= _letters(message)


def errors(root: Path, files: Sequence[Path]) -> list[Message]:
    """The first parts of all NextclickErrors that are made in `files`."""
    trees = {path: ast.parse(path.read_text()) for path in files}
    classes = _error_classes(list(trees.values()))
    found: list[Message] = []
    for path, tree in trees.items():
        for call, scope in _calls(tree):
            first = _first_part(call, scope, classes)
            if first is None or len(call.args) <= first:
                continue
            what, *rest = call.args[first : first + 3]
            if isinstance(what, ast.Attribute) and what.attr == "what":
                continue  # Of an error that is told on with another meaning.
            place = f"{path.relative_to(root)}:{call.lineno}"
            told = tuple(" / ".join(_texts(part, scope, tree)) for part in rest)
            found += [Message(text, place, told) for text in _texts(what, scope, tree)]
    return found


def log_lines(root: Path, files: Sequence[Path]) -> list[Message]:
    """The log lines of level warning and above; but those that hand on what an error says."""
    found: list[Message] = []
    for path in files:
        tree = ast.parse(path.read_text())
        for call, scope in _calls(tree):
            function = call.func
            if isinstance(function, ast.Attribute) and function.attr in LEVELS and call.args:
                place = f"{path.relative_to(root)}:{call.lineno}"
                texts = _texts(call.args[0], scope, tree)
                told = sorted({line for text in texts for line in _filled(text, call.args[1:])})
                found += [Message(line, place) for line in told if _letters(line)]
    return found


def constants(files: Sequence[Path]) -> set[str]:
    """The strings in the code, f-strings as templates; no documentation."""
    found: set[str] = set()
    for path in files:
        tree = ast.parse(path.read_text())
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | Scope)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.update(_texts(node, None, tree))
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documentation
            ):
                found.update(_filled(node.value))
    return found


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _tidy(text: str) -> str:
    """One line, without backticks, and one … for values side by side."""
    return re.sub(rf"{GAP}(?:\s*{GAP})+", GAP, " ".join(text.replace("`", "").split()))


def _filled(text: str, values: Sequence[ast.expr] = ()) -> list[str]:
    """A %-format as templates: several where a value is a choice between words."""
    words = _FORMAT.split(text)
    gaps = itertools.zip_longest(words[1:], values)
    choices = [
        _raw(value) if isinstance(value, ast.IfExp) else [GAP] for word, value in gaps if word is not None
    ]
    lines = (
        "".join(map("".join, zip(words, (*chosen, ""), strict=True)))
        for chosen in itertools.product(*choices)
    )
    return [_tidy(line.replace("%%", "%")) for line in lines]


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, Scope | None]]:
    """Every call with the function that it stands in."""

    def walk(node: ast.AST, scope: Scope | None) -> Iterator[tuple[ast.Call, Scope | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, scope
            yield from walk(child, child if isinstance(child, Scope) else scope)

    return walk(tree, None)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _error_classes(trees: Sequence[ast.Module]) -> dict[str, int | None]:
    """NextclickError and what derives from it → the argument that says what happened, None for none."""
    known: dict[str, int | None] = {"NextclickError": 0}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in classes:
        for node in classes:
            parents = [_name(base) for base in node.bases if _name(base) in known]
            if parents and node.name not in known:
                known[node.name] = _argument_of(node, known[parents[0]])
    return known


def _argument_of(node: ast.ClassDef, inherited: int | None) -> int | None:
    """Which argument of the class is its first part; None when the class words it itself."""
    made = next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
    if made is None:
        return inherited
    names = [argument.arg for argument in made.args.args[1:]]
    for call in (n for n in ast.walk(made) if isinstance(n, ast.Call)):
        if _is_parents_init(call) and isinstance(call.args[0], ast.Name) and call.args[0].id in names:
            return names.index(call.args[0].id)
    return None


def _is_parents_init(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "__init__" and len(call.args) == 3


def _first_part(call: ast.Call, scope: Scope | None, classes: dict[str, int | None]) -> int | None:
    """The argument of a call that says what happened; None for what is no error of ours."""
    if _is_parents_init(call) and ast.unparse(call.func) == "super().__init__":
        parameters = [a.arg for a in scope.args.args] if scope is not None else []
        told_by_caller = isinstance(call.args[0], ast.Name) and call.args[0].id in parameters
        return None if told_by_caller else 0
    return classes.get(_name(call.func))


def _texts(node: ast.expr, scope: Scope | None, tree: ast.Module) -> list[str]:
    """The templates that an expression may give; a name is looked up where it is set or passed."""
    if isinstance(node, ast.Name):
        values = [text for value in _values(node.id, scope, tree) for text in _raw(value)]
        return sorted({_tidy(text) for text in values}) or [GAP]
    if isinstance(node, ast.Call) and _name(node.func) == "join" and node.args:
        return _texts(node.args[0], scope, tree)
    return [_tidy(text) for text in _raw(node)]


def _raw(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in itertools.product(*map(_raw, node.values))]
    if isinstance(node, ast.FormattedValue):
        return _raw(node.value) if isinstance(node.value, ast.IfExp) else [GAP]
    if isinstance(node, ast.IfExp):
        return _raw(node.body) + _raw(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return ["".join(parts) for parts in itertools.product(_raw(node.left), _raw(node.right))]
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return _raw(node.elt)
    if isinstance(node, ast.List):
        return [text for element in node.elts for text in _raw(element)]
    return [GAP]


def _values(name: str, scope: Scope | None, tree: ast.Module) -> list[ast.expr]:
    """What is put into a name of a function: by assignment, by append, or by its callers."""
    if scope is None:
        return []
    found: list[ast.expr] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and name in map(_name, node.targets):
            found.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            appended = node.func.attr == "append" and _name(node.func.value) == name
            found += [node.args[0]] if appended else []
    parameters = [argument.arg for argument in scope.args.args if argument.arg != "self"]
    if not found and name in parameters:
        place = parameters.index(name)
        for call, _ in _calls(tree):
            if _name(call.func) == scope.name and len(call.args) > place:
                found.append(call.args[place])
    return found
