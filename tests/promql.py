"""Which labels a PromQL query has, checked against what is exported; tests/promql_samples.py evaluates one.

Knows as much of the language as the rules and dashboards here use, and refuses the rest.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import promql_parser as promql

Labels = frozenset[tuple[str, str]]
SETS = ("and", "or", "unless")


class WrongQuery(Exception):
    """A query asks for what nobody exports; the message says what."""


@dataclass(frozen=True)
class Catalogue:
    """What is exported."""

    metrics: Mapping[str, frozenset[str]]
    """Label names by sample name, those that the scrape adds included."""
    values: Callable[[str, str], frozenset[str]]
    """The values that a label of a metric may have. Raises WrongQuery when they are not known."""


def labels_of(query: str, catalogue: Catalogue) -> frozenset[str]:
    """The labels of what `query` gives. Raises WrongQuery."""
    return _labels(promql.parse(query), catalogue)


def _labels(node: promql.Expr, known: Catalogue) -> frozenset[str]:
    match node:
        case promql.NumberLiteral():
            return frozenset()
        case promql.ParenExpr():
            return _labels(node.expr, known)
        case promql.MatrixSelector():
            return _labels(node.vector_selector, known)
        case promql.VectorSelector():
            return _selected(node, known)
        case promql.AggregateExpr():
            return _grouped(node, known)
        case promql.Call():
            return _called(node, known)
        case promql.BinaryExpr():
            return _joined(node, known)
    raise WrongQuery(f"not understood: {node}")


def _selected(node: promql.VectorSelector, known: Catalogue) -> frozenset[str]:
    labels = known.metrics.get(node.name or "")
    if labels is None:
        raise WrongQuery(f"nobody exports {node.name}")
    for matcher in node.matchers.matchers:
        _require({matcher.name}, labels, node)
        if matcher.value and not (wanted := _values(matcher)) <= (there := known.values(node.name or "", matcher.name)):
            raise WrongQuery(f"{node.name}: {matcher.name} is never {', '.join(sorted(wanted - there))}")
    return labels


def _values(matcher: promql.Matcher) -> frozenset[str]:
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return frozenset({matcher.value})
    if not re.fullmatch(r"[\w.-]+(\|[\w.-]+)*", matcher.value):
        raise WrongQuery(f"not a list of values: {matcher.value}")
    return frozenset(matcher.value.split("|"))


def _require(wanted: Iterable[str], there: frozenset[str], node: promql.Expr) -> None:
    if missing := set(wanted) - there:
        raise WrongQuery(f"no label {', '.join(sorted(missing))} in {node}")


def _grouped(node: promql.AggregateExpr, known: Catalogue) -> frozenset[str]:
    there = _labels(node.expr, known)
    wanted = by(node)
    _require(wanted, there, node)
    return wanted


def by(node: promql.AggregateExpr) -> frozenset[str]:
    if node.modifier is None:
        return frozenset()
    if node.modifier.type != promql.AggModifierType.By:
        raise WrongQuery(f"not understood: {node}")
    return frozenset(node.modifier.labels)


def _called(node: promql.Call, known: Catalogue) -> frozenset[str]:
    inner = _labels(node.args[-1], known)
    if node.func.name == "absent":
        return frozenset(name for name, _ in equalities(node.args[0]))
    if node.func.name == "histogram_quantile":
        _require({"le"}, inner, node)
        return inner - {"le"}
    return inner


def equalities(node: promql.Expr) -> Labels:
    if not isinstance(node, promql.VectorSelector):
        raise WrongQuery(f"not understood: absent({node})")
    equal = [matcher for matcher in node.matchers.matchers if matcher.op == promql.MatchOp.Equal]
    return frozenset((matcher.name, matcher.value) for matcher in equal)


def _joined(node: promql.BinaryExpr, known: Catalogue) -> frozenset[str]:
    left, right = _labels(node.lhs, known), _labels(node.rhs, known)
    shared = on(node)
    if shared is not None:
        _require(shared, left, node)
        _require(shared, right, node)
    elif not _scalar(node.lhs) and not _scalar(node.rhs) and str(node.op) != "or" and left != right:
        raise WrongQuery(f"the sides have different labels, so nothing matches: {node}")
    return right if _scalar(node.lhs) else left


def on(node: promql.BinaryExpr) -> frozenset[str] | None:
    matching = node.modifier.matching if node.modifier else None
    if matching is None:
        return None
    if matching.type != promql.LabelModifierType.Include or str(node.op) not in SETS:
        raise WrongQuery(f"not understood: {node}")
    return frozenset(matching.labels)


def _scalar(node: promql.Expr) -> bool:
    return isinstance(node, promql.NumberLiteral)
