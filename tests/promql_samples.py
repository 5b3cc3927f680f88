"""What a PromQL query gives for samples: enough of Prometheus to see an alert fire."""

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise

import promql_parser as promql

from tests.promql import SETS, Labels, WrongQuery, by, equalities, on

Vector = dict[Labels, float]

_LOOK_BACK_S = 300.0
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else (math.nan if not a or math.isnan(a) else math.copysign(math.inf, a)),
}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


class Samples:
    """Series with one sample a minute, from zero on."""

    def __init__(self, series: Mapping[str, str]) -> None:
        """Values by series, in promtool's notation: `0+5x10 _x3 7`."""
        self._series = [(_identity(name), _expanded(values)) for name, values in series.items()]

    def give(self, query: str, at_s: float) -> Vector:
        """What a query gives at a moment."""
        return self._vector(promql.parse(query), at_s)

    def _vector(self, node: promql.Expr, at_s: float) -> Vector:
        match node:
            case promql.ParenExpr():
                return self._vector(node.expr, at_s)
            case promql.VectorSelector():
                found = self._ranges(node, at_s, _LOOK_BACK_S)
                return {labels: points[-1][1] for labels, points in found.items()}
            case promql.AggregateExpr():
                return self._aggregate(node, at_s)
            case promql.Call():
                return self._call(node, at_s)
            case promql.BinaryExpr():
                return self._binary(node, at_s)
        raise WrongQuery(f"not understood: {node}")

    def _ranges(
        self, node: promql.VectorSelector, at_s: float, range_s: float
    ) -> dict[Labels, list[tuple[float, float]]]:
        found = {}
        for labels, values in self._series:
            if dict(labels)["__name__"] != node.name or not _matches(dict(labels), node.matchers.matchers):
                continue
            times = [(60.0 * index, value) for index, value in enumerate(values) if value is not None]
            if points := [point for point in times if at_s - range_s < point[0] <= at_s]:
                found[labels] = points
        return found

    def _aggregate(self, node: promql.AggregateExpr, at_s: float) -> Vector:
        groups: dict[Labels, list[float]] = {}
        for labels, value in self._vector(node.expr, at_s).items():
            groups.setdefault(_only(labels, by(node)), []).append(value)
        return {labels: _AGGREGATES[str(node.op)](values) for labels, values in groups.items()}

    def _call(self, node: promql.Call, at_s: float) -> Vector:
        name, argument = node.func.name, node.args[-1]
        if name == "absent":
            return {} if self._vector(argument, at_s) else {equalities(argument): 1.0}
        if name == "histogram_quantile":
            return _quantiles(node.args[0].val, self._vector(argument, at_s))
        range_s = argument.range.total_seconds()
        found = self._ranges(argument.vector_selector, at_s, range_s)
        given = {labels: _over(name, points, at_s, range_s) for labels, points in found.items()}
        return {_unnamed(labels): value for labels, value in given.items() if value is not None}

    def _binary(self, node: promql.BinaryExpr, at_s: float) -> Vector:
        op, left = str(node.op), self._vector(node.lhs, at_s)
        if isinstance(node.rhs, promql.NumberLiteral):
            return _with_each(op, {labels: (value, node.rhs.val) for labels, value in left.items()})
        right = self._vector(node.rhs, at_s)
        if op not in SETS:
            theirs = {_unnamed(labels): value for labels, value in right.items()}
            pairs = {labels: (value, theirs.get(_unnamed(labels))) for labels, value in left.items()}
            return _with_each(op, {labels: (a, b) for labels, (a, b) in pairs.items() if b is not None})
        return _as_sets(op, left, right, on(node))


def _as_sets(op: str, left: Vector, right: Vector, shared: frozenset[str] | None) -> Vector:
    def key(labels: Labels) -> Labels:
        return _unnamed(labels) if shared is None else _only(labels, shared)

    if op == "or":
        keys = {key(labels) for labels in left}
        return {**left, **{labels: value for labels, value in right.items() if key(labels) not in keys}}
    keys = {key(labels) for labels in right}
    return {labels: value for labels, value in left.items() if (key(labels) in keys) == (op == "and")}


def _identity(series: str) -> Labels:
    name, _, rest = series.partition("{")
    return frozenset({("__name__", name), *re.findall(r'(\w+)="([^"]*)"', rest)})


def _expanded(values: str) -> list[float | None]:
    expanded: list[float | None] = []
    for word in values.split():
        found = re.fullmatch(r"(_|-?[\d.]+)([+-][\d.]+)?(?:x(\d+))?", word)
        assert found, f"not a list of samples: {word}"
        start, step, times = found[1], float(found[2] or 0), int(found[3] or 0)
        # promtool: `_xN` are N gaps, `axN` are a and N more.
        count = max(times, 1) if start == "_" else times + 1
        expanded += [None if start == "_" else float(start) + step * index for index in range(count)]
    return expanded


def _matches(labels: dict[str, str], matchers: list[promql.Matcher]) -> bool:
    for matcher in matchers:
        value = labels.get(matcher.name, "")
        equal = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
        hit = value == matcher.value if equal else re.fullmatch(matcher.value, value) is not None
        if hit != (matcher.op in (promql.MatchOp.Equal, promql.MatchOp.Re)):
            return False
    return True


def _only(labels: Labels, names: frozenset[str]) -> Labels:
    return frozenset(label for label in labels if label[0] in names)


def _unnamed(labels: Labels) -> Labels:
    return frozenset(label for label in labels if label[0] != "__name__")


def _with_each(op: str, pairs: dict[Labels, tuple[float, float]]) -> Vector:
    if op in _COMPARISONS:
        return {labels: left for labels, (left, right) in pairs.items() if _COMPARISONS[op](left, right)}
    return {_unnamed(labels): _ARITHMETIC[op](left, right) for labels, (left, right) in pairs.items()}


def _over(function: str, points: list[tuple[float, float]], at_s: float, range_s: float) -> float | None:
    values = [value for _, value in points]
    if function == "max_over_time":
        return max(values)
    if function == "avg_over_time":
        return sum(values) / len(values)
    if function == "changes":
        return float(sum(a != b for a, b in pairwise(values)))
    if function not in ("rate", "increase"):
        raise WrongQuery(f"not understood: {function}")
    increase = _increase(points, at_s, range_s)
    return increase if increase is None or function == "increase" else increase / range_s


def _increase(points: list[tuple[float, float]], at_s: float, range_s: float) -> float | None:
    """As Prometheus extrapolates it to the borders of the range."""
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    grown = sum(b - a if b >= a else b for a, b in pairwise(values))
    covered = points[-1][0] - points[0][0]
    apart = covered / (len(points) - 1)
    before, after = points[0][0] - (at_s - range_s), at_s - points[-1][0]
    if grown > 0:
        before = min(before, covered * values[0] / grown)
    spans = (span if span < apart * 1.1 else apart / 2 for span in (before, after))
    return grown * (covered + sum(spans)) / covered


def _quantiles(quantile: float, buckets: Vector) -> Vector:
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        key = frozenset(label for label in labels if label[0] not in ("le", "__name__"))
        groups.setdefault(key, []).append((bound, count))
    return {labels: _quantile(quantile, sorted(counts)) for labels, counts in groups.items()}


def _quantile(quantile: float, counts: list[tuple[float, float]]) -> float:
    total = counts[-1][1]
    if not total:
        return math.nan
    rank, below, lower = quantile * total, 0.0, 0.0
    for bound, count in counts[:-1]:
        if count >= rank:
            return lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return counts[-2][0]
