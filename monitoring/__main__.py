"""Makes k8s/monitoring/rules.yaml of rules.yml: `python -m monitoring`.

kustomize cannot put one file into a field of another, and Prometheus refuses a file with fields that it does not know:
neither can read the other's.
"""

from pathlib import Path

RULES = Path(__file__).parent / "rules.yml"
RESOURCE = Path(__file__).parents[1] / "k8s/monitoring/rules.yaml"
_HEAD = """\
# Made of monitoring/rules.yml by `python -m monitoring`: edit that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: trunkline
spec:
"""


def resource(rules: str) -> str:
    """The PrometheusRule that holds `rules`, the text of a rule file, without the comment at its beginning."""
    body = rules[rules.index("groups:") :]
    return _HEAD + "".join(f"  {line}" if line.strip() else line for line in body.splitlines(keepends=True))


if __name__ == "__main__":
    RESOURCE.write_text(resource(RULES.read_text()))
