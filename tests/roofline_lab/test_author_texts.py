"""A text of an author takes its numbers from `v`; whatever is wrong in it is one message with line and expression."""

from __future__ import annotations

import time

import pytest

from roofline_lab.author_texts import MOST_CHARACTERS, problems_of, render_text
from simulator.errors import ConfigError

MOST_SECONDS = 2.0


class Answers:
    """What a text may ask here."""

    secret = "hidden"

    def gain(self, method="corrected"):
        if method != "corrected":
            raise ConfigError(f"no method '{method}'")
        return 12.5

    def count(self):
        return 3

    def status(self):
        return "confirmed"

    def nothing(self):
        return None


def rendered(text):
    return render_text(text, {"v": Answers()}, "discussion.md")


def refusal(text):
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        rendered(text)
    assert time.process_time() - started < MOST_SECONDS
    assert "object at 0x" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ v.gain('corrected') | pp }}", "+12.5 pp"),
        ("{{ '%.2f' | format(v.gain()) }}", "12.50"),
        ("{{ (v.gain() * 2 - 1) // 3 }} {{ v.count() % 2 }} {{ -v.count() }}", "8.0 1 -3"),
        ("{{ v.status() }}{% if v.count() > 2 and v.gain() < 20 %}, most{% endif %}", "confirmed, most"),
        ("{% for i in range(3) %}{{ loop.index }}:{{ i }} {% endfor %}", "1:0 2:1 3:2"),
        ("{% for i in [3, 1, 2] | sort %}{{ i }}{% endfor %}", "123"),
        ("{{ [1, 2] | join(', ') }} {{ [1, v.count()] | max }}", "1, 2 3"),
        ("{{ 'many' if v.count() is odd else 'few' }}", "many"),
        ("No template at all: 100 %.", "No template at all: 100 %."),
    ],
)
def test_a_text_computes_formats_chooses_and_repeats(text, expected):
    assert rendered(text) == expected


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("v.count() | xmlattr", "unknown filter 'xmlattr'; "),
        ("v.gain() | dictsort", "unknown filter 'dictsort'"),
        ("true | truncate(1) % v.gain()", "unknown filter 'truncate'"),
        ("1 % 0 | float", "float modulo"),
        ("v.gain() / 0", "division by zero"),
        ("(1e308 * 10) - (1e308 * 10) | format(1)", "format needs a pattern such as '%.1f'"),
        ("(10 ** 400) * 1.0", "'pow' cannot be used here; allowed: numbers, quoted words, questions of v"),
        ("2 ** 2 ** 99", "'pow' cannot be used here"),
        ("9" * 500 + " * 1.0", "int too large to convert to float"),
        ("9" * 5000, "a number has thousands of digits"),
        ("'ab' * 1000000000", "'*' computes with numbers, not with a word and int"),
        ("'ab' + 'cd'", "'+' computes with numbers"),
        ("'%s' % 3", "'%' computes with numbers"),
        ("[1, 2] * 1000000", "'*' computes with numbers, not with a list and int"),
        ("'a' ~ 'b'", "'concat' cannot be used here"),
        ("'%1000000000d' | format(1)", "a format may be 30 characters wide, not '1000000000'"),
        ("'%.999999999f' | format(v.gain())", "a format may be 30 characters wide"),
        ("'%*d' | format(999999999, 1)", "a format may be 30 characters wide, not '*'"),
        ("'a' | center(1000000000)", "unknown filter 'center'"),
        ("'a'.ljust(1000000000)", "access to attribute 'ljust' of 'str' object is unsafe"),
        ("'{:>1000000000}'.format(1)", "access to attribute 'format' of 'str' object is unsafe"),
        ("range(10000000000) | list | length", "a range has at most 1000 members"),
        ("range(0, 10000000000, 1) | sum", "a range has at most 1000 members"),
        ("v.gain", "cannot be printed"),
        ("v.nothing() + 1", "'+' computes with numbers, not with nothing and int"),
        ("v.gain('corected')", "no method 'corected'"),
        ("v.gain(1, 2, 3)", "positional argument"),
        ("v.gian()", "has no attribute 'gian'"),
        ("w.gain()", "unknown name 'w'; allowed: range, v"),
        ("self | first", "unknown name 'self'"),
        ("lipsum()", "unknown name 'lipsum'"),
        ("v.gain() | pt", "unknown filter 'pt'; did you mean 'pct'? "),
        ("v.__class__", "access to attribute '__class__'"),
        ("v.gain.__globals__", "access to attribute '__globals__'"),
        ("v['__class__']", "access to attribute '__class__'"),
        ("v.gain() is mapping", "unknown test 'mapping'"),
        ("[] | first", "No first item"),
        ("[1, 'a'] | sort", "'<' not supported"),
        ("[1, 2]", "a list cannot be printed"),
        ("'a' | round", "type str doesn't define __round__ method"),
        ("v.gain(", "not a template: "),
        ("(" * 5000 + ")" * 5000, "nested too deeply"),
        ("1 " + "+ 1 " * 20_000, "nested too deeply"),
    ],
)
def test_whatever_an_expression_does_wrong_is_one_message_with_line_and_expression(expression, told):
    said = refusal(f"First line.\n\nIt is {{{{ {expression} }}}} of all.\n")
    assert said.startswith(f"discussion.md: line 3: {{{{ {expression}"[:60])
    assert told in said
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% for i in range(900) %}{% for j in range(900) %}{{ i }}{% endfor %}{% endfor %}", "more than 1000 times"),
        ("{% for i in range(10000000000) %}{{ i }}{% endfor %}", "a range has at most 1000 members"),
        ("{% for i in v.gain() %}{{ i }}{% endfor %}", "not iterable"),
        ("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "a loop cannot be recursive"),
        ("{% set a = 'x' %}{{ a }}", "'assign' cannot be used here"),
        ("{% set a %}x{% endset %}", "'assignblock' cannot be used here"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "'macro' cannot be used here"),
        ("{% include 'findings.md.j2' %}", "'include' cannot be used here"),
        ("{% import 'x' as y %}", "'import' cannot be used here"),
        ("{% block b %}{% endblock %}", "'block' cannot be used here"),
        ("{% for i in [1] %}", "not a template: Unexpected end of template"),
        ("x" * (MOST_CHARACTERS + 1), f"a text may have {MOST_CHARACTERS}"),
    ],
    ids=range(12),
)
def test_what_would_not_end_or_not_fit_on_a_page_is_refused(text, told):
    assert told in refusal(text)


def test_what_can_be_known_before_a_run_is_told_before_it_and_all_at_once():
    problems = problems_of("{{ v.gain() | pt }}\n{{ 2 ** 3 }}\n{{ w }}")
    assert [problem.split(":")[0] for problem in problems] == ["line 1", "line 2", "line 3"]
