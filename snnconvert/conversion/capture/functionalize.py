"""Takes in-place operations out of a program: every value is written once.

`x.relu_()` becomes `relu(x)`, and whoever read `x` afterwards reads the new value. A write through
a slice (`x[:, 0] = y`) becomes a scatter into the tensor it is a view of; other views of that
tensor are taken again from the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from snnconvert.conversion.capture.usual_form import EVALUATED_NORM, picked, usual
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.values import references, substitute
from snnconvert.conversion.rules import View, rule_of
from snnconvert.errors import UnsupportedOpError


def functionalized(program: Program, paths: Mapping[str, str]) -> Program:
    """`program` without in-place operations and without dropout that is switched off.

    Args:
        paths: the user's names of constants.

    Raises:
        UnsupportedOpError: a constant is written, or a tensor through a view that is no slice of
            it.
    """
    return _Pass(picked(program), paths).run()


class _Pass:
    def __init__(self, program: Program, paths: Mapping[str, str]) -> None:
        self.program = program
        self.paths = paths
        self.computed = {*program.inputs, *(node.name for node in program.nodes)}
        self.latest: dict[str, Any] = {}  # name -> what holds its value now
        self.views: dict[str, Node] = {}  # view -> the node that made it
        self.nodes: list[Node] = []
        self.norms: set[str] = set()  # batch norms with three results
        self.position = 0
        self.same: dict[str, str] = {}  # result of an in-place operation -> the tensor it wrote
        for node in program.nodes:
            if writes(node):
                target = node.args[0].name
                self.same[node.name] = self.same.get(target, target)
        self.last_read: dict[str, int] = {}
        for position, node in enumerate(program.nodes):
            for name in node.refs:
                self.last_read[self.same.get(name, name)] = position
        for ref in references(program.output):
            self.last_read[self.same.get(ref.name, ref.name)] = len(program.nodes)

    def run(self) -> Program:
        for position, node in enumerate(self.program.nodes):
            self.position = position
            self._add(node if node.op == EVALUATED_NORM else usual(node))
        output = substitute(self.program.output, self._now)
        return replace(self.program, nodes=tuple(self.nodes), output=output)

    def _now(self, ref: Ref) -> Any:
        name = self.same.get(ref.name, ref.name)
        return self.latest.get(name, Ref(name))

    def _add(self, original: Node) -> None:
        node = replace(
            original,
            args=tuple(substitute(arg, self._now) for arg in original.args),
            kwargs={key: substitute(value, self._now) for key, value in original.kwargs.items()},
        )
        if node.op == EVALUATED_NORM:  # gives one result from here on
            self.norms.add(node.name)
            self.nodes.append(usual(node))
        elif node.op == "aten.getitem" and original.args[0].name in self.norms:
            self.latest[node.name] = node.args[0]
        elif is_dropout(node) and not (node.args[1] and node.args[2]):
            self.latest[node.name] = node.args[0]  # the identity in evaluation mode
        elif writes(node):
            self._write(original, node)
        else:
            self.nodes.append(node)
            if view_of(node) and node.args and isinstance(node.args[0], Ref):
                source = original.args[0].name
                first = Ref(self.same.get(source, source))
                self.views[node.name] = replace(original, args=(first, *original.args[1:]))

    def _write(self, original: Node, node: Node) -> None:
        short = short_name(node.op)
        target = self.same[original.name]
        self._refuse_state(target, node)
        if short == "copy_":
            like = node.args[0]
            op, args = "aten.expand_as.default", (node.args[1], like)
        else:
            overload = node.op.rsplit(".", 1)[1]
            op, args = f"aten.{short[:-1]}.{overload}", node.args
        self.nodes.append(replace(node, op=op, args=args))
        self._replace(target, Ref(node.name), original)

    def _replace(self, target: str, value: Ref, by: Node) -> None:
        """`target` now holds `value`; so do its bases, and its other views are taken again."""
        self.latest[target] = value
        base, chain = self._base(target), set(self._chain(target))
        others = [n for n in self.views if n not in chain and self._base(n) == base]
        if not any(self._read_later(name) for name in (*chain - {target}, *others)):
            return
        made, written = self.views.get(target), value
        while made is not None:
            source = made.args[0].name
            written = self._scatter(made, source, written, by)
            self.latest[source] = written
            made = self.views.get(source)
        for name in others:
            self._retake(name, self.views[name], by)

    def _refuse_state(self, target: str, by: Node) -> None:
        """UnsupportedOpError if what is written is a constant, and no copy of one."""
        made = [self.views[name] for name in self._chain(target) if name in self.views]
        base = self._base(target)
        if base not in self.computed and not any(is_copy(n) for n in made):
            raise holds_state(self.paths.get(base, base), by.op)

    def _read_later(self, name: str) -> bool:
        return self.last_read.get(name, -1) > self.position

    def _base(self, name: str) -> str:
        while name in self.views:
            name = self.views[name].args[0].name
        return name

    def _chain(self, name: str) -> list[str]:
        names = [name]
        while names[-1] in self.views:
            names.append(self.views[names[-1]].args[0].name)
        return names

    def _scatter(self, made: Node, source: str, written: Ref, by: Node) -> Ref:
        name, into = f"{by.name}_in_{source}", self._now(Ref(source))
        view = view_of(made)
        if view is None or view.back is None:
            raise UnsupportedOpError(
                f"{by.layer or '(root)'}: {by.op} writes through a view ({made.op}); write to a "
                "copy, or give the value back instead of changing it in place"
            )
        op, args, kwargs = view.back(made, into, written)
        self.nodes.append(Node(name, op, args, kwargs, by.layer))
        return Ref(name)

    def _retake(self, name: str, made: Node, by: Node) -> None:
        again = f"{name}_after_{by.name}"
        args = tuple(substitute(arg, self._now) for arg in made.args)
        self.nodes.append(Node(again, made.op, args, made.kwargs, made.layer))
        self.latest[name] = Ref(again)


def holds_state(name: str, how: str) -> UnsupportedOpError:
    """The error for a tensor `name` that a network changes by `how` in every call."""
    return UnsupportedOpError(
        f"{name}: the network changes it in every call ({how}); a converted network holds no state "
        "but its neurons (switch observers and running statistics off)"
    )


def writes(node: Node) -> bool:
    """Whether `node` is an in-place operation."""
    short = short_name(node.op)
    in_place = short.endswith("_") and not short.endswith("__") and node.op.startswith("aten.")
    return in_place and not is_dropout(node)


def view_of(node: Node) -> View | None:
    """How the result of `node` shares memory with its first argument; None where it does not."""
    rule = rule_of(node.op)
    return rule.view if rule is not None else None


def is_copy(node: Node) -> bool:
    view = view_of(node)
    return view is not None and view.copies


def is_dropout(node: Node) -> bool:
    rule = rule_of(node.op)
    return rule is not None and rule.dropout


def short_name(op: str) -> str:
    """ "relu_" of "aten.relu_.default"."""
    return op.split(".")[1] if "." in op else op
