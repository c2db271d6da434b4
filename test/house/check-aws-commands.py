"""Holds the commands of the AWS command line in documents against the models of the services (botocore).

Reads documents as JSON ({name: text}) from standard input; prints what is wrong, one line each, and how many commands it saw.
"""

import json
import re
import shlex
import sys

import jmespath
from botocore import xform_name
from botocore.session import Session

SESSION = Session()
# Of the command line itself. Each is followed by a value.
GLOBAL = {"--query", "--output", "--region", "--profile"}
# What the command line adds to the services: `logs tail` of version 2.
TAIL = {"--since", "--follow", "--format", "--filter-pattern", "--log-stream-names", "--log-stream-name-prefix"}


def substitutions(text):
    """Replaces every `$(...)`, the innermost first; yields the commands that stood in them, and the rest last."""
    while True:
        start = text.rfind("$(")
        if start < 0:
            break
        depth, end = 0, start + 1
        while depth > 0 or end == start + 1:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield text[start + 2 : end - 1]
        text = f"{text[:start]}SUBSTITUTED{text[end:]}"
    yield text


def commands(text):
    """Every call of `aws`, as a list of its words."""
    blocks = re.findall(r"^```sh account\n(.*?)^```$", text, re.M | re.S)
    for block in blocks:
        for part in substitutions(block.replace("\\\n", " ")):
            for line in part.splitlines():
                words = shlex.split(line)
                if "aws" in words:
                    words = words[words.index("aws") + 1 :]
                    ends = [at for at, word in enumerate(words) if re.fullmatch(r"[|;&><]+.*|.*;", word)]
                    yield words[: ends[0]] if ends else words
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for span in re.findall(r"`aws ([a-z-]+ [a-z-]+)[^`]*`", prose):
        yield span.split()


def example(shape, depth=0):
    """What an answer of this shape looks like when everything is there."""
    if shape.type_name == "structure":
        return {name: example(member, depth + 1) for name, member in shape.members.items()} if depth < 8 else {}
    if shape.type_name == "list":
        return [example(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"key": example(shape.value, depth + 1)}
    return {"boolean": True, "integer": 1, "long": 1}.get(shape.type_name, "text")


def check_query(query, output):
    # A filter compares with what an example does not hold, so it lets everything through here.
    found = jmespath.search(re.sub(r"\[\?[^]]*\]", "[]", query), example(output))
    return None if "null" not in json.dumps(found) and found != [] else f"--query {query} finds nothing"


def problems(words):
    service, operation, *rest = words
    if [service, operation] == ["logs", "tail"]:
        return [f"{word}: no option" for word in rest if word.startswith("--") and word not in TAIL]
    service = {"s3api": "s3"}.get(service, service)
    if service not in SESSION.get_available_services():
        return ["no such service"]
    model = SESSION.get_service_model(service)
    if operation == "wait":
        waiters = SESSION.get_waiter_model(service) if hasattr(SESSION, "get_waiter_model") else None
        names = {xform_name(name, "-"): waiters.get_waiter(name).operation for name in waiters.waiter_names}
        operation, rest = names.get(rest[0], ""), rest[1:]
        if operation == "":
            return ["no such waiter"]
    else:
        known = {xform_name(name, "-"): name for name in model.operation_names}
        if operation not in known:
            return ["no such command"]
        operation = known[operation]
    shape = model.operation_model(operation)
    members = shape.input_shape.members if shape.input_shape else {}
    options = {f"--{xform_name(name, '-')}": member for name, member in members.items()}
    negated = {f"--no-{xform_name(name, '-')}" for name, member in members.items() if member.type_name == "boolean"}
    given = [word for word in rest if word.startswith("--")]
    wrong = [f"{word}: no option" for word in given if word not in options and word not in negated | GLOBAL]
    required = {f"--{xform_name(name, '-')}" for name in (shape.input_shape.required_members if members else [])}
    # A command in running text is named, not given.
    if rest:
        wrong += [f"{name} is missing" for name in sorted(required - set(given)) if f"--no-{name[2:]}" not in given]
    if "--query" in given and shape.output_shape is not None:
        wrong.append(check_query(rest[rest.index("--query") + 1], shape.output_shape))
    return [one for one in wrong if one is not None]


seen = 0
for document, text in json.load(sys.stdin).items():
    for words in commands(text):
        seen += 1
        for problem in problems(words):
            print(f"{document}: aws {' '.join(words)}: {problem}")
print(seen)
