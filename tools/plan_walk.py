"""Follow the observed state through the planner: `python tools/plan_walk.py [FOLDER FILE FUNCTION]`.

Reads the sources as text. Follows in source order every call that passes the observed state, or a
part of it, to a function of the same package that it has not followed yet, and prints each file
that it enters. A *return* is an entry into a file that it had left: the fewer, the more the planner
reads like a page. Without arguments it walks from make_plan and from the plan's report.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PLAN = Path(__file__).resolve().parents[1] / "packages" / "plan" / "src" / "speechmodel_plan"
WALKS = (("reconcile.py", "make_plan"), ("plan.py", "StepPlan.after"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Package:
    """The functions of a package, by file and qualified name."""

    functions: dict[tuple[str, str], Function] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Package":
        """Parse every module below `folder`."""
        package = cls()
        for path in sorted(folder.rglob("*.py")):
            file = path.relative_to(folder).as_posix()
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                members = node.body if isinstance(node, ast.ClassDef) else [node]
                prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                for member in members:
                    if isinstance(member, Function):
                        package.functions[file, prefix + member.name] = member
        return package

    def resolve(self, call: ast.Call, file: str) -> tuple[str, str] | None:
        """Return the function that a call names: of the same file first, then the only one of that name."""
        match call.func:
            case ast.Name(id=name):
                found = [key for key in self.functions if key[1] == name]
            case ast.Attribute(attr=name):
                found = [key for key in self.functions if key[1].endswith(f".{name}")]
            case _:
                return None
        own = [key for key in found if key[0] == file]
        candidates = own or found
        return candidates[0] if len(candidates) == 1 else None


def walk(package: Package, file: str, name: str) -> list[str]:
    """Return the files entered, in order; consecutive entries into the same file count once."""
    entered: list[str] = []
    passed: set[tuple[str, str]] = set()

    def enter(file: str, name: str, carried: set[str]) -> None:
        if (file, name) in passed:
            return
        passed.add((file, name))
        if not entered or entered[-1] != file:
            entered.append(file)
        for node in _in_order(package.functions[file, name]):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.For | ast.comprehension):
                _carry(node, carried)
            elif isinstance(node, ast.Call) and (target := package.resolve(node, file)):
                arguments = _parameters(package.functions[target], node, carried)
                if arguments:
                    enter(*target, arguments)

    function = package.functions[file, name]
    enter(file, name, {argument.arg for argument in function.args.args})
    return entered


def _in_order(function: Function) -> Iterator[ast.AST]:
    nodes = [node for statement in function.body for node in ast.walk(statement) if hasattr(node, "lineno")]
    nodes += [n for s in function.body for n in ast.walk(s) if isinstance(n, ast.comprehension)]
    return iter(sorted(nodes, key=lambda node: (_line(node), not isinstance(node, ast.comprehension))))


def _line(node: ast.AST) -> int:
    target = node.iter if isinstance(node, ast.comprehension) else node
    return int(getattr(target, "lineno", 0))


def _carry(node: ast.AST, carried: set[str]) -> None:
    source = node.iter if isinstance(node, ast.For | ast.comprehension) else getattr(node, "value", None)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if source is not None and _mentions(source, carried):
        carried.update(n.id for target in targets if target for n in ast.walk(target) if isinstance(n, ast.Name))


def _mentions(node: ast.AST, carried: set[str]) -> bool:
    """Return True for a carried name and for its attributes."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in carried


def _parameters(function: Function, call: ast.Call, carried: set[str]) -> set[str]:
    """Return the parameters that receive a carried value."""
    names = [argument.arg for argument in function.args.args]
    found = {keyword.arg for keyword in call.keywords if keyword.arg and _mentions(keyword.value, carried)}
    given = list(call.args)
    if names[:1] == ["self"] and isinstance(call.func, ast.Attribute):
        given = [call.func.value, *given]
    found |= {name for name, argument in zip(names, given, strict=False) if _mentions(argument, carried)}
    return found


def main() -> None:
    """Print each walk and its figures."""
    folder, walks = PLAN, list(WALKS)
    if len(sys.argv) == 4:
        folder, walks = Path(sys.argv[1]), [(sys.argv[2], sys.argv[3])]
    package = Package.read(folder)
    for file, name in walks:
        entered = walk(package, file, name)
        print(f"{name}: {len(entered)} stops, {len(entered) - len(set(entered))} returns, {len(set(entered))} files")
        print("  " + " > ".join(entered))


if __name__ == "__main__":
    main()
