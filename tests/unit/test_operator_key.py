"""Who may use the operator's endpoints."""

import pytest
from pydantic import SecretStr

from shared.operator_key import OperatorKey


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret"])
def test_the_key_opens(header: str) -> None:
    assert OperatorKey(SecretStr("s3cret")).refusal(header) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret ", "Basic s3cret", "s3cret", "Bearer \udcff\x00"]
)
def test_anything_else_does_not(header: str) -> None:
    refusal = OperatorKey(SecretStr("s3cret")).refusal(header)
    assert refusal is not None
    assert refusal.status == 401
    assert "s3cret" not in refusal.reason


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer x"])
def test_without_a_key_nobody_comes_in_and_learns_why(header: str) -> None:
    refusal = OperatorKey(SecretStr("")).refusal(header)
    assert refusal is not None
    assert refusal.status == 403
    assert "API_KEY" in refusal.reason
