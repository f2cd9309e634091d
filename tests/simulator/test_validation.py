"""What a record refuses: every key once, in the words of the file."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, Strict, model_validator

from simulator.errors import AllAtOnce, ConfigError, UnsupportedError
from simulator.validation import Count, Finite, NonNegative, Positive, StrictModel, parse


class Inner(StrictModel):
    count: Count = 1
    ids: tuple[str, ...] = ()


class Outer(StrictModel):
    inner: Inner | tuple[int, ...] = ()
    rate: Positive = 1.0
    share: NonNegative = 0.0
    offset: Finite = 0.0
    named: dict[str, Annotated[bool, Strict()]] = Field(default={})

    @model_validator(mode="after")
    def _small(self) -> Outer:
        if self.offset == 13:
            raise ValueError("offset: 13 is not allowed")
        if self.offset == 14:
            raise OverflowError("too large")
        return self


def refusal(**data):
    with pytest.raises(ConfigError) as caught:
        parse(Outer, data, source="f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"named": [1]}, "named: Input should be a mapping of keys to values (got [1])"),
        ({"named": {"a": "x"}}, "named.a: Input should be true or false (got 'x')"),
        ({"inner": 5}, "inner: Input should be a mapping of keys to values or a list, such as [1, 2] (got 5)"),
        ({"inner": {"count": 1.5}}, "inner.count: Input should be a whole number (got 1.5)"),
        ({"inner": {"ids": [1]}}, "inner.ids.0: Input should be text (put quotes around it) (got 1)"),
        ({"rate": 0}, "rate: Input should be greater than 0 (got 0)"),
        ({"rate": -1e308}, "rate: Input should be greater than 0 (got -1e+308)"),
        ({"rate": 1e-308}, "rate: Input should be at least 1e-50 (got 1e-308)"),
        ({"share": 1e308}, "share: Input should be at most 1e+50 (got 1e+308)"),
        ({"rate": float("nan")}, "rate: Input should be a finite number (got nan)"),
        ({"offset": 13}, "offset: 13 is not allowed"),
        ({"offset": 14}, "its numbers are out of all proportion (too large); check units and sizes"),
        ({"ofset": 1}, "ofset: unknown key; did you mean 'offset'? allowed: inner, named, offset, rate, share"),
    ],
    ids=range(13),
)
def test_a_refusal_speaks_of_keys_and_forms_of_the_file(data, told):
    assert refusal(**data) == f"f.yaml: {told}"


def test_several_problems_are_told_at_once_and_each_key_once():
    assert refusal(rate="x", named=3, inner="y").count("\n  - ") == 3


def test_what_is_wrong_with_several_things_is_raised_as_one_and_a_bug_is_not_kept():
    told = AllAtOnce()
    for error in (ConfigError("a: 1"), UnsupportedError("b: 2"), ConfigError("a: 1")):
        with told:
            raise error
    with pytest.raises(ConfigError, match=r"^a: 1\nb: 2$"):
        told.refuse()
    only = AllAtOnce()
    with only:
        raise UnsupportedError("b: 2")
    with pytest.raises(UnsupportedError, match=r"^b: 2$"):
        only.refuse()
    with pytest.raises(ZeroDivisionError), only:
        raise ZeroDivisionError
    AllAtOnce().refuse()
