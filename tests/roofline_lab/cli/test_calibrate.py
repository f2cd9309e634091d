"""A calibration carried onto a made-up GPU whose constants are known, and what is refused before anything runs."""

from __future__ import annotations

import csv
import json
import re
import shlex

import pytest
import yaml

from roofline_lab.calibration.constants import CONSTANTS
from roofline_lab.calibration.ownership import OWNERSHIP
from roofline_lab.calibration.plan import PAGE
from roofline_lab.calibration.points import setup_of
from roofline_lab.calibration.record import load_calibration
from roofline_lab.cli.main import main
from roofline_lab.config import RandomArrivals
from roofline_lab.ground_truth.reading import experiment_from
from roofline_lab.load_point import Target, simulate
from roofline_lab.predict.onto import Request, prepare
from roofline_lab.report.onto import data_digest
from simulator.cli.main import main as simulator
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import CALIBRATION, CALIBRATION_FILE, Stranger, latency, point, poisson

GPU = "made-up"
RUN = "run-1"
# How the made-up GPU differs from the donor's: slower memory kernels and launches, and a client farther away.
TRUTH = {"weight_bandwidth_efficiency": 0.82, "layer_us": 55.0, "request_us": 18.0, "guidellm_request_us": 9000.0}
LOADS = {"alone": 1, "together": 12}


def values(**changes):
    return {**load_calibration(CALIBRATION_FILE).values, **changes}


def add_gpu(folder, **changes):
    """Put the data sheet of a made-up GPU beside the experiments."""
    path = folder / "hardware" / f"{GPU}.yaml"
    path.parent.mkdir(exist_ok=True)
    sheet = yaml.safe_load((ROOT / "configs" / "hardware" / "a100-sxm.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**sheet, "id": GPU, "name": "Made up", **changes}), encoding="utf-8")


def measure(stranger, path, constants):
    """Write into an experiment what a server with such constants shows."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    experiment = experiment_from(content, source="test", name=path.parent.name, folder=path.parent)
    model = load_model(stranger.folder / "models" / "strange-1b.json", "strange-1b")
    hardware = load_hardware(stranger.folder / "hardware" / f"{GPU}.yaml")
    once = RandomArrivals(seeds=(0,), requests=1)
    for loaded in content["load_points"]:
        target = Target(experiment, experiment.point(loaded["id"]), model, hardware, once)
        seen = simulate(target, setup_of(experiment, model, hardware, constants))
        loaded["measured"] = {name: latency(name, seen.value(name)) for name in ("ttft_mean", "e2e_mean")}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@pytest.fixture
def stranger(tmp_path):
    stranger = Stranger(tmp_path)
    add_gpu(stranger.folder)
    return stranger


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return a folder with a run of known constants, and what calibrating with it wrote."""
    stranger = Stranger(tmp_path_factory.mktemp("known"))
    add_gpu(stranger.folder)
    points = [point(name, concurrency=number, requests=2 * number) for name, number in LOADS.items()]
    path = stranger.add(RUN, hardware=GPU, load_points=points)
    measure(stranger, path, values(**TRUTH))
    assert calibrate(stranger, path.parent) == 0
    return stranger


def calibrate(stranger, run, *more, onto=GPU, donor=CALIBRATION):
    runs = run if isinstance(run, list) else [run]
    arguments = ["--onto", onto, "--from", donor, "--with", *runs, "--out", stranger.out, "--root", ROOT, *more]
    return main(["calibrate", *map(str, arguments)])


def written(stranger):
    return load_calibration(stranger.out / f"{GPU}_from_{CALIBRATION}.yaml")


def refusal(capsys, *arguments, **named):
    assert calibrate(*arguments, **named) == 2
    return capsys.readouterr().err


# --- known constants ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [one.name for one in CONSTANTS])
def test_every_true_constant_of_a_made_up_gpu_lies_in_its_interval(done, name):
    interval = written(done).constants[name].interval_95_pct
    assert interval.low <= values(**TRUTH)[name] <= interval.high


@pytest.mark.parametrize("name", [one.name for one in CONSTANTS])
def test_a_borrowed_constant_has_the_donors_value_and_a_fitted_one_a_narrower_interval(done, name):
    found, before = written(done).constants[name], values()[name]
    assert (found.origin == "borrowed") is (found.value == before)
    assert (found.told_share >= 0.1) is (found.origin == "fitted")


def test_what_the_run_shows_is_known_far_better_than_what_was_borrowed_and_right(done):
    page = (done.out / PAGE).read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| run-1 +\| (.+?) +\| +([\d.,]+) ± ([\d.,]+) \w+ \| +([\d.,]+) ± ([\d.,]+)", page, re.MULTILINE
    )
    costs = {name: tuple(float(text.replace(",", "")) for text in numbers) for name, *numbers in rows}
    assert len(costs) == 4
    _, before, _, after = costs["a step of one request"]
    assert after < before / 2
    _, before, client, after = costs["outside the engine, per request"]
    assert after < before
    truth = (TRUTH["guidellm_request_us"] + 500 * values()["client_us_per_prompt_token"]) / 1000
    assert client == pytest.approx(truth, abs=after)


def test_the_run_is_predicted_better_than_by_what_was_carried_over_and_held_out_points_too(done):
    with (done.out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] in ("ttft_mean", "itl_mean")]
    worst = {}
    for row in rows:
        worst[row["variant"]] = max(worst.get(row["variant"], 0.0), abs(float(row["error_pct"])))
    assert worst["in_sample"] < 3.0 < 5.0 < worst["carried_over"] < worst["data_sheet"]
    assert worst["held_out"] < worst["carried_over"]


def test_the_file_says_what_was_borrowed_from_whom_and_is_what_an_evaluation_takes(done, tmp_path, capsys):
    calibration = written(done)
    assert calibration.borrowed_from == CALIBRATION
    assert calibration.covers(GPU)
    assert not calibration.covers("h100-sxm")
    assert "Strange-1B" in calibration.trained_on.families
    assert set(calibration.held_out) == set(load_calibration(CALIBRATION_FILE).trained_on.families)
    path = done.out / f"{GPU}_from_{CALIBRATION}.yaml"
    arguments = ["evaluate", done.folder, "--steptime", path, "--out", tmp_path / "page", "--root", ROOT, "--jobs", "1"]
    assert main([*map(str, arguments)]) == 0
    assert "in sample (1 experiment)" in capsys.readouterr().out
    assert "constants of h100_vllm, as far as 2 load points on made-up say nothing else" in (
        tmp_path / "page" / "EVALUATION.md"
    ).read_text(encoding="utf-8")


def test_the_file_is_what_a_simulation_takes(done, capsys):
    path = done.out / f"{GPU}_from_{CALIBRATION}.yaml"
    arguments = ["run", "--model", "llama-2-7b-hf", "--hardware", "h100-sxm", "--steptime", path,
                 "--num-requests", 1, "--rate", 1, "--prompt-tokens", 100, "--output-tokens", 2]  # fmt: skip
    assert simulator([*map(str, arguments)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "made-up was" in told["step_time_basis"]
    assert "as far as 2 load points on made-up say nothing else" in told["step_time_basis"]


def test_the_same_run_gives_the_same_bytes_and_is_replaced_only_when_told_so(done, capsys):
    before = {path.name: path.read_bytes() for path in done.out.iterdir()}
    assert "replace it with --force" in refusal(capsys, done, done.folder / RUN)
    assert calibrate(done, done.folder / RUN, "--force") == 0
    assert {path.name: path.read_bytes() for path in done.out.iterdir()} == before


def test_progress_is_told_beside_the_result_which_names_what_is_fitted_and_what_is_borrowed(done, capsys):
    calibrate(done, done.folder / RUN, "--force")
    told = capsys.readouterr()
    assert f"judging load point 2 of 2: {RUN}/together" in told.err
    assert re.search(r"^fitted: .*layer_us", told.out, re.MULTILINE)
    assert re.search(r"^borrowed: .*all_reduce_us", told.out, re.MULTILINE)
    assert "each load point from the others: mean error TTFT" in told.out


def test_a_run_at_one_load_is_no_test_and_the_page_says_so(stranger):
    path = stranger.add(RUN, hardware=GPU)
    measure(stranger, path, values(**TRUTH))
    assert calibrate(stranger, path) == 0
    page = (stranger.out / PAGE).read_text(encoding="utf-8")
    assert "| held out" not in page
    assert "a run at a second load would be one" in page


def test_a_run_no_constants_describe_is_told_of_by_the_exit_code_and_on_the_page(stranger, capsys):
    path = stranger.add(RUN, hardware=GPU, load_points=[point(measured={
        "ttft_mean": latency("ttft", 5000.0), "e2e_mean": latency("e2e", 5010.0)})])  # fmt: skip
    assert calibrate(stranger, path) == 1
    assert re.search(r"TTFT of run-1/synchronous is off by -\d+\.\d % after the fit", capsys.readouterr().out)
    assert "**Finding**: TTFT of run-1/synchronous" in (stranger.out / PAGE).read_text(encoding="utf-8")


# --- refused before anything runs ---------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once(stranger, capsys):
    stranger.add("elsewhere", hardware="h100-sxm")
    stranger.add("all-at-once", hardware=GPU, load_points=[poisson(state="saturated")])
    told = refusal(capsys, stranger, [stranger.folder, "nothing-here"], donor="h100_vlm")
    assert "elsewhere: was measured on h100-sxm, not on made-up; say --onto h100-sxm" in told
    assert "all-at-once: stage_0 is saturated" in told
    assert "--from: no calibration 'h100_vlm'" in told
    assert "did you mean 'h100_vllm'" in told
    assert "--with: nothing-here: no such file or folder" in told
    assert not stranger.out.exists()


def test_a_gpu_nobody_describes_is_refused_with_the_file_to_add(stranger, capsys):
    stranger.add(RUN, hardware=GPU)
    told = refusal(capsys, stranger, stranger.folder / RUN, onto="made-upp")
    assert "--onto: hardware: unknown hardware 'made-upp'" in told
    assert "did you mean 'made-up'" in told


def test_options_that_are_no_calibration_have_nothing_to_lend(stranger, capsys):
    stranger.add(RUN, hardware=GPU)
    options = stranger.folder / "options.yaml"
    options.write_text("family: mfu_roofline\n", encoding="utf-8")
    told = refusal(capsys, stranger, stranger.folder / RUN, donor=options)
    assert "--from: options.yaml has no 'constants', so there is nothing to borrow" in told


def test_a_calibration_of_a_fleet_is_no_donor_and_one_that_is_is_named(stranger, capsys):
    stranger.add(RUN, hardware=GPU)
    told = refusal(capsys, stranger, stranger.folder / RUN, donor="vllm_fleet")
    assert "vllm_fleet.yaml is the calibration of a fleet" in told
    assert "such as h100_vllm" in told


def test_a_run_without_latencies_is_refused(stranger, capsys):
    counted = {"request_throughput": {"value": 1.0, "unit": "1/s", "definition": "whole_run"}}
    stranger.add(RUN, hardware=GPU, load_points=[point(measured=counted)])
    told = refusal(capsys, stranger, stranger.folder / RUN)
    assert "run-1: synchronous has neither a mean TTFT nor a mean time between tokens" in told


def test_a_model_the_gpu_has_no_room_for_is_refused(stranger, capsys):
    add_gpu(stranger.folder, memory_gib={"value": 1, "unit": "GiB", "source": "made up"})
    stranger.add(RUN, hardware=GPU)
    assert "strange-1b" in refusal(capsys, stranger, stranger.folder / RUN)


def test_a_saturated_load_point_beside_others_is_left_out_with_its_reason(stranger, capsys):
    path = stranger.add(RUN, hardware=GPU, load_points=[point(), poisson(state="saturated")])
    assert calibrate(stranger, path) in (0, 1)
    assert "left out: run-1/stage_0 is saturated" in capsys.readouterr().out


# --- what the project shows ---------------------------------------------------------------------------

SHOWN = {"a100-sxm": "38-llama-3-1-8b-tp1-general-lite-1-1", "l40s": "55-llama-3-1-8b-tp1-general-lite-1"}
REPORTS = ROOT / "reports" / "calibration"


def shown(gpu):
    return REPORTS / f"{gpu}_from_{CALIBRATION}"


@pytest.mark.parametrize("gpu", SHOWN)
def test_a_committed_page_rests_on_the_run_and_the_donor_there_are(gpu):
    prepared = prepare(Request(ROOT, gpu, CALIBRATION, (SHOWN[gpu],)))
    committed = load_calibration(shown(gpu) / f"{gpu}_from_{CALIBRATION}.yaml")
    assert committed.trained_on.data_sha256 == data_digest(prepared), (
        f"roofline-lab calibrate --onto {gpu} --from {CALIBRATION} --with {SHOWN[gpu]} --out {shown(gpu)} --force"
    )


@pytest.mark.parametrize("gpu", SHOWN)
def test_a_stage_predicted_from_the_other_is_nearer_than_what_was_carried_over(gpu):
    with (shown(gpu) / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] in ("ttft_mean", "itl_mean", "e2e_mean")]
    errors = {(row["load_point"], row["metric"], row["variant"]): abs(float(row["error_pct"])) for row in rows}
    assert len(errors) == 2 * 3 * 4
    for (place, metric, variant), error in errors.items():
        if variant == "held_out":
            assert error < errors[place, metric, "carried_over"] < errors[place, metric, "data_sheet"]


# --- what the manual says -----------------------------------------------------------------------------

MANUAL = ROOT / "docs" / "calibration.md"


def chapter(title):
    """Return the text of the manual from a heading to the next of its level or above."""
    text = MANUAL.read_text(encoding="utf-8")
    begin = text.index(f"\n{title}\n") + len(title)
    following = re.compile(rf"^#{{1,{title.index(' ')}}} ", re.MULTILINE).search(text, begin)
    return text[begin : following.start() if following else None]


def console(text):
    """Return the commands of the first console block, each with a pattern of what it prints; `...` is anything."""
    block = re.search(r"```console\n(.*?)```", text, re.DOTALL)[1]
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        lines = re.escape(printed).replace(r"\.\.\.", ".*")
        yield shlex.split(command), re.compile(lines, re.DOTALL)


def test_the_commands_of_the_manual_run_as_printed(tmp_path, monkeypatch, capsys):
    stranger = Stranger(tmp_path)
    add_gpu(stranger.folder)
    loads = [point(name, concurrency=number, requests=2 * number) for name, number in LOADS.items()]
    path = stranger.add("my-run", hardware="a100-sxm", load_points=loads)
    measure(stranger, path, values(**TRUTH))
    for name in ("configs", "ground_truth", "simulator", "workflow", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for (program, *arguments), printed in console(chapter("## A GPU or a cluster with one measured run")):
        assert program == "roofline-lab"
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert printed.fullmatch(out), out


def test_the_manual_gives_every_constant_to_its_owner():
    rows = re.findall(
        r"^\| (GPU|server|site) \| (.+) \|$", chapter("## A GPU or a cluster with one measured run"), re.M
    )
    assert {name: owner for owner, names in rows for name in re.findall("`(.+?)`", names)} == {
        name: row.owner for name, row in OWNERSHIP.items()
    }


def test_the_manual_quotes_the_errors_of_the_committed_pages():
    text = chapter("### What one run each says of A100 and L40S")
    rows = {name: numbers.split(" | ") for name, numbers in re.findall(r"^\| (\w[\w ]+?) \| (\d.+?) \|$", text, re.M)}
    quoted = {}
    for gpu in SHOWN:
        page = (shown(gpu) / PAGE).read_text(encoding="utf-8")
        for name, *numbers in re.findall(
            r"^\| (\w[\w ]+?) +\| +([\d.]+) % \| +([\d.]+) % \| +([\d.]+) % \|$", page, re.M
        ):
            quoted.setdefault(name, []).extend(numbers)
    assert rows == {name: quoted[name] for name in rows}
    assert list(rows) == ["data sheet", "carried over", "held out"]


def test_every_cost_the_manual_quotes_stands_on_a_page():
    text = " ".join(chapter("### What one run each says of A100 and L40S").split())
    pages = [" ".join((shown(gpu) / PAGE).read_text(encoding="utf-8").split()) for gpu in SHOWN]
    costs = re.findall(r"[\d.]+ ± [\d.]+ (?:ms|us)", text)
    assert len(costs) == 6
    assert all(any(cost in page for page in pages) for cost in costs), costs
    assert "| `kv_bandwidth_efficiency` | 0.300 |" in pages[0]
    assert "| `kv_bandwidth_efficiency` | 0.466 |" in pages[1]
