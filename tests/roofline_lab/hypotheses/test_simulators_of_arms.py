"""Arms that others predict: how they are named, what they may set, and rule ED-1 among them and ours."""

from __future__ import annotations

import pytest
import yaml

from roofline_lab.hypotheses.arms import differences
from simulator.errors import ConfigError
from tests.roofline_lab.simulators.samples import HYPOTHESIS, describe, hypothesis, write_hypothesis

TABLE = "experiment,load_point,metric,value\njan30-llama2-7b-tp1-chatsweep,synchronous,ttft_mean,80\n"
OWN_TABLE = {"simulator": {"kind": "table", "file": "predictions.csv"}}


@pytest.fixture
def others(bench):
    """Return a project with two described simulators, and a function that loads a hypothesis with given arms."""
    describe(bench.root, "mine")
    describe(bench.root, "theirs", "crashes")

    def load(arms, **changes):
        folder = write_hypothesis(bench.root, hypothesis(arms, **changes))
        (folder / "predictions.csv").write_text(TABLE, encoding="utf-8")
        return bench.load()

    load.root = bench.root
    return load


def refusal(others, arms, **changes):
    with pytest.raises(ConfigError) as caught:
        others(arms, **changes)
    return str(caught.value)


def arms_of(project):
    return project.arms(HYPOTHESIS, "corrected")


def test_an_arm_names_a_simulator_or_its_options_or_has_a_table(others):
    cautious = {"simulator": {"name": "mine", "options": {"margin": 0.1}}}
    project = others({"mine": {"simulator": "mine"}, "cautious": cautious, "elsewhere": OWN_TABLE})
    ours, *arms = arms_of(project)
    assert ours.simulator.is_builtin
    assert [arm.simulator.name for arm in arms] == ["mine", "mine", "predictions.csv"]
    assert differences(ours, arms[0]) == {
        "simulator.name": ("builtin", "mine"),
        "simulator.kind": ("builtin", "command"),
    }
    assert differences(arms[0], arms[1]) == {"simulator.options.margin": (None, 0.1)}
    digests = project.arm_digests(HYPOTHESIS, "corrected")
    assert len(set(digests.values())) == 4


@pytest.mark.parametrize("named", ["builtin", {"kind": "builtin"}])
def test_ours_may_be_named_and_stays_the_same_arm(others, named):
    project = others({"named": {"simulator": named}, "mine": {"simulator": "mine"}})
    digests = project.arm_digests(HYPOTHESIS, "corrected")
    assert digests["named"] == digests["ours"]


def test_arms_that_differ_in_who_predicts_must_say_so(others):
    told = refusal(others, {"mine": {"simulator": "mine"}}, varied=["bandwidth_efficiency"])
    assert "arms.mine: 'simulator.name' differs from ours ('builtin' -> 'mine', method corrected)" in told
    assert "but is not in varied [bandwidth_efficiency]" in told


def test_rules_of_the_method_still_have_to_be_declared(others):
    arm = {"simulator": "mine", "method": {"client": {"request_us": 5000}}}
    told = refusal(others, {"mine": arm})
    assert "arms.mine: 'method.client.request_us' differs from ours" in told
    assert others({"mine": arm}, varied=["simulator", "method.client"])


@pytest.mark.parametrize(
    ("arm", "told"),
    [
        ({"simulator": "mien"}, "unknown simulator 'mien'; did you mean 'mine'? allowed: "),
        (
            {"simulator": 3},
            "must be the id of a file of configs/simulators, {name: ID, options: {...}}, {kind: table",
        ),
        ({"simulator": {"kind": "command", "run": ["sh"]}}, "a program is described in configs/simulators/<id>.yaml"),
        ({"simulator": {"kind": "oracle"}}, "simulator: unknown kind 'oracle'; allowed: builtin, steptime, table"),
        ({"simulator": {"name": "mine", "option": {}}}, "option: unknown key; did you mean 'options'?"),
        ({"simulator": {"kind": "table", "file": "../x.csv"}}, "simulator.file: must lie beside this file"),
        ({"simulator": {"kind": "table", "file": "none.csv"}}, "hypotheses/h90_others/none.csv"),
        ({"simulator": "mine", "bandwidth_efficiency": 0.9}, "bandwidth_efficiency: are options of our simulator"),
    ],
)
def test_what_an_arm_cannot_say_is_told_with_what_it_can(others, arm, told):
    assert told in refusal(others, {"mine": arm})


def test_a_table_is_checked_before_anything_runs(others):
    write_hypothesis(others.root, hypothesis({"elsewhere": OWN_TABLE}))
    folder = others.root / "hypotheses" / HYPOTHESIS
    (folder / "predictions.csv").write_text(TABLE.replace("tp1", "tp9"), encoding="utf-8")
    from roofline_lab.project import load_project

    with pytest.raises(ConfigError, match="unknown experiment 'jan30-llama2-7b-tp9-chatsweep'; did you mean"):
        load_project(others.root)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.update(id="other"), "id: must be the file's name 'mine' (got 'other')"),
        (
            lambda content: content["simulator"].update(run="python3 mine.py | tee log"),
            "simulator.run: must be a list of words, such as [python3, configs/simulators/mine.py]; no shell is used",
        ),
        (lambda content: content["simulator"].pop("version"), "simulator.version: missing; it is required"),
        (
            lambda content: content["simulator"].update(timeout_s=0),
            "timeout_s: Input should be greater than 0",
        ),
        (lambda content: content["simulator"].update(kind="binary"), "unknown kind 'binary'; allowed: command, table"),
        (lambda content: content["simulator"].update(shell=True), "simulator.shell: unknown key"),
    ],
)
def test_a_description_that_is_wrong_is_told_with_file_and_key(others, change, told):
    path = others.root / "configs" / "simulators" / "mine.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    message = refusal(others, {"theirs": {"simulator": "theirs"}})
    assert message.startswith("configs/simulators/mine.yaml: ")
    assert told in message


def test_nobody_may_take_the_name_of_our_simulator(others):
    describe(others.root, "builtin")
    assert "id: 'builtin' is the project's own simulator" in refusal(others, {"mine": {"simulator": "mine"}})
