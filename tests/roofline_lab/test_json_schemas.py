"""Every kind of YAML that people write has a schema for their editor, equal to what the laboratory reads."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from roofline_lab.hypotheses.spec import kind_of
from roofline_lab.json_schemas import FOLDER, RECORDS, SUFFIX, json_schema, write_schemas
from simulator.input_files import read_yaml
from tests.paths import ROOT

AGAIN = "write it again: python -m roofline_lab.json_schemas"
KINDS = {"hypothesis", "synthetic_hypothesis"}


def files_of(name):
    """Return the files of the project a schema is for; hypotheses of the other kind have a schema of their own."""
    paths = sorted(ROOT.glob(RECORDS[name][1]))
    if name not in KINDS:
        return paths
    return [path for path in paths if (kind_of(path, ROOT) == "synthetic") is (name == "synthetic_hypothesis")]


def errors(name, content):
    as_json = json.loads(json.dumps(content, default=str))
    return [
        f"{list(error.absolute_path)}: {error.message}"
        for error in Draft202012Validator(json_schema(name)).iter_errors(as_json)
    ]


@pytest.mark.parametrize("name", RECORDS)
def test_a_committed_schema_is_what_the_record_says(name):
    assert json.loads((ROOT / FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8")) == json_schema(name), AGAIN


def test_no_schema_is_left_of_a_kind_that_went(tmp_path):
    write_schemas(tmp_path)
    assert {path.name for path in (ROOT / FOLDER).iterdir()} == {path.name for path in (tmp_path / FOLDER).iterdir()}


@pytest.mark.parametrize("name", RECORDS)
def test_every_file_of_the_project_fits_its_schema(name):
    paths = files_of(name)
    assert paths
    assert {path: found for path in paths if (found := errors(name, read_yaml(path)))} == {}


@pytest.mark.parametrize("name", RECORDS)
def test_a_misspelt_key_does_not_fit(name):
    content = read_yaml(files_of(name)[0])
    assert errors(name, content | {"misspelt_key": 1})


def test_a_new_hypothesis_names_its_schema():
    text = (ROOT / "workflow" / "templates" / "new" / "validation.yaml.j2").read_text(encoding="utf-8")
    named = text.splitlines()[0].partition("$schema=")[2]
    assert (ROOT / "hypotheses" / "any" / named).resolve() == ROOT / FOLDER / f"hypothesis{SUFFIX}"
