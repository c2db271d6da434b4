"""What is wrong with the script of a NixOS test, one line each, as far as it shows without a machine: NixOS lints scripts when it builds the
driver, and a fault there fails the check before anything boots. Reads {"script", "machines"} as JSON from standard input."""

import ast
import builtins
import json
import sys

# What the driver of NixOS puts into the script's scope, and what its machines can do.
DRIVER = {"start_all", "machines", "driver", "log", "subtest", "retry", "join_all", "create_machine"}
MACHINE = {"succeed", "fail", "wait_for_unit", "wait_for_open_port", "wait_until_succeeds", "wait_until_fails", "start", "shutdown"}


def faults(script, machines):
    tree = ast.parse(script)
    known = DRIVER | set(machines) | set(dir(builtins))
    imported, read = {}, set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imported.update((name.asname or name.name, node.lineno) for name in names)
            case ast.FunctionDef(name=name, args=args):
                known |= {name} | {arg.arg for arg in args.args}
            case ast.Name(id=name, ctx=ast.Store()):
                known.add(name)
            case ast.Name(id=name, ctx=ast.Load()):
                read.add((name, node.lineno))
            case ast.JoinedStr(values=values):
                if not any(isinstance(value, ast.FormattedValue) for value in values):
                    yield node.lineno, "an f-string without a value"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)):
                if name in set(machines) | {"machine", "server", "host"} and attr not in MACHINE:
                    yield node.lineno, f"{name}.{attr} is not known"
    known |= set(imported)
    for name, line in sorted(read):
        if name not in known:
            yield line, f"{name} is not defined"
    for name, line in imported.items():
        if name not in {one for one, _ in read}:
            yield line, f"{name} is imported and not used"


test = json.load(sys.stdin)
for line, fault in faults(test["script"], test["machines"]):
    print(f"{line}: {fault}")
