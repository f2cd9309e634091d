"""Every reader and loader with one sound input: tools found by discovery, everything else listed.

A reader of the importers comes with the sample that its tests write (`tests/roofline_lab/importers/samples.py`), each
of whose files is damaged in turn. A public function named `read...` or `load...` that takes a path and nothing else is
fed with files of no sense.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect as introspection
import io
import json
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import roofline_lab
import simulator
from roofline_lab.author_texts import render_text
from roofline_lab.calibration.plan import load_plan
from roofline_lab.cli.main import main as laboratory
from roofline_lab.errata.evaluation import evaluate_documents
from roofline_lab.ground_truth.recorded_inputs import Recorded
from roofline_lab.hypotheses.expressions import formula
from roofline_lab.importers import import_experiment
from roofline_lab.importers.inspection import inspect
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.tools import tools
from roofline_lab.jobs.reports import page_files
from roofline_lab.predict.choose import load_option_sets, load_predictor
from roofline_lab.project import load_project
from roofline_lab.scoring.published import load_published
from simulator.cli.main import main as simulate
from simulator.errors import ConfigError
from tests.mutations.wrong import wrong_figures
from tests.roofline_lab.builders import ROOT, copy_project, edit_yaml
from tests.roofline_lab.hypotheses.synthetic.toys import DISCUSSION, TOY, run
from tests.roofline_lab.importers.samples import SAMPLES
from tests.roofline_lab.importers.test_table import ROW, table
from tests.roofline_lab.predict.strangers import CALIBRATION, Stranger
from tests.roofline_lab.report import replay_toy
from tests.simulator.cli.support import LINEAR_CASE, SMALL, STEP, write_case, write_small_tables

H1, GRID = "h1_bw_efficiency", "hg1_overhead_grid"
EXPERIMENT = "jan30-llama2-7b-tp1-chatsweep"
LARGEST_SAMPLE_BYTES = 200_000
FORMS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".md": "text"}


@dataclass(frozen=True)
class Reader:
    """One way into the program.

    Attributes
    ----------
    file
        What is damaged.
    form
        How it is damaged; see `mutants.mutant`.
    read
        Reads it and whatever depends on it; raises what it raises.
    wrong
        What must not have been accepted, given what `read` returned.
    is_sound
        Whether the input is accepted as it is.
    """

    name: str
    file: Path
    form: str
    read: Callable[[], Any]
    wrong: Callable[[Any], list[str]] = lambda _: []
    is_sound: bool = True

    @property
    def is_slow(self) -> bool:
        """Whether it loads a whole project or simulates an experiment."""
        return "project" in self.file.parts or "stranger" in self.file.parts or self.name == "evaluate: options"


def readers(folder: Path) -> list[Reader]:
    """Return every reader with its sound input written below `folder`."""
    project = _project(folder / "project")
    found = [
        *_importers(folder, _place_to_import_to(folder / "importing")),
        *_configuration(project),
        *_hypotheses(project),
        *_published(project),
        *_simulator(folder / "simulator"),
        *_strangers(folder),
        *_traces(project),
        *_formulas(folder),
    ]
    return [*found, *_others(folder / "other", found)]


def command(main: Callable[[list[str]], int], *argv: object, stdin: Path | None = None) -> str:
    """Run a command and return what it wrote; an expected failure is raised as its message."""
    import sys

    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.read_bytes() if stdin else b""))
        try:
            code = main([str(word) for word in argv])
        finally:
            sys.stdin = before
    if code == 2:
        raise ConfigError(err.getvalue())
    return out.getvalue()


# --- importers --------------------------------------------------------------------------------


def _importers(folder: Path, project: Path) -> Iterator[Reader]:
    for tool in tools():
        sample = folder / "samples" / tool
        sample.mkdir(parents=True)
        if tool in SAMPLES:
            SAMPLES[tool].write(sample)
        else:
            (sample / "result.json").write_text("{}", encoding="utf-8")
        files = sorted(file for file in sample.rglob("*") if file.is_file())
        for file in [file for file in files if file.stat().st_size <= LARGEST_SAMPLE_BYTES][:6]:
            name = f"import {tool}: {file.relative_to(sample).as_posix()}"
            yield Reader(name, file, FORMS.get(file.suffix, "raw"), _importing(tool, sample, project), wrong_figures)
    yield from _around(folder, project)
    path = table(folder, ROW, {**ROW, "stage": "1", "ttft_mean_ms": "26.0"})
    out = project / "ground_truth" / "mine"
    yield Reader("import --from-csv", path, "csv", _table_import(path, out), wrong_figures)
    yield Reader("inspect a table", path, "csv", lambda: list(inspect(path)))


def _place_to_import_to(root: Path) -> Path:
    """Return a project of configurations, words and one experiment."""
    for name in ("configs/models", "configs/hardware", f"ground_truth/{EXPERIMENT}"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy2(ROOT / "ground_truth" / "vocabulary.yaml", root / "ground_truth")
    return root


def _importing(tool: str, sample: Path, project: Path) -> Callable[[], Any]:
    out = project / "ground_truth" / "mine"

    def read() -> Any:
        with contextlib.suppress(ConfigError):  # a folder that is inspected may hold what is no result at all
            list(inspect(sample))
        try:
            return import_experiment(tool, sample, out, Overrides(model="llama-2-7b-hf")).experiment
        finally:
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(out.parent / ".mine", ignore_errors=True)

    return read


AROUND = {
    "exp-config.yaml": "max_num_seqs: 128\ntensor_parallelism: 1\nmodel: meta-llama/Llama-2-7b-hf\n",
    "profile.yaml": "load: {type: constant}\ndata: {prompt_tokens: 50, output_tokens: 5}\n",
    "vllm.log": "INFO vLLM API server version 0.11.0\nINFO enable_prefix_caching=True, kv_cache_dtype=auto\n",
    "traces.jsonl": '{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": []}]}]}]}\n',
    "server.yaml": "prefix_caching: false\nsoftware: vLLM 0.11.0\ntoken_budget: 2048\n",
    "serve.sh": "vllm serve meta-llama/Llama-2-7b-hf --max-num-seqs 64 --no-enable-prefix-caching\n",
    "deployment.yaml": "spec: {containers: [{args: ['vllm', 'serve', 'x', '--max-num-seqs=8']}]}\n",
    "meta.json": '{"engine_args": {"max_num_seqs": 64}}',
}


def _around(folder: Path, project: Path) -> Iterator[Reader]:
    """Yield what may lie beside the results of any tool."""
    for name, content in AROUND.items():
        sample = folder / "around" / name
        sample.mkdir(parents=True)
        SAMPLES["guidellm"].write(sample)
        file = sample / name
        file.write_text(content, encoding="utf-8")
        form = FORMS.get(file.suffix, "raw")
        yield Reader(f"beside results: {name}", file, form, _importing("guidellm", sample, project), wrong_figures)


def _table_import(path: Path, out: Path) -> Callable[[], Any]:
    from roofline_lab.ground_truth.reading import load_experiment

    def read() -> Any:
        try:
            command(laboratory, "import", "--from-csv", path, "--out", out, "--year", 2026)
            experiments = [out, *out.parent.glob("mine*")]
            return [load_experiment(one) for one in experiments if (one / "experiment.yaml").is_file()]
        finally:
            for one in out.parent.glob("mine*"):
                shutil.rmtree(one, ignore_errors=True)

    return read


# --- the project ------------------------------------------------------------------------------


def _project(root: Path) -> Path:
    """Return a project of two measured hypotheses and a synthetic one."""
    copy_project(root)
    for folder in (root / "hypotheses").iterdir():
        if folder.name not in (H1, GRID):
            shutil.rmtree(folder)
            continue
        edit_yaml(folder / "hypothesis.yaml", lambda spec: [spec.pop(key, None) for key in ("references", "differs")])
    toy = root / "hypotheses" / TOY["id"]
    toy.mkdir()
    (toy / "hypothesis.yaml").write_text(yaml.safe_dump(TOY, sort_keys=False), encoding="utf-8")
    text = DISCUSSION.replace("Text.", "It is {{ v.summary('largest') | quantity('ratio') }}.", 1)
    (toy / "discussion.md").write_text(text, encoding="utf-8")
    for folder in (root / "ground_truth").iterdir():  # the smallest set of experiments alone
        if folder.is_dir() and folder.name not in _experiments(root):
            shutil.rmtree(folder)
    shutil.copytree(ROOT / "documents", root / "documents")
    (root / "hypotheses" / GRID / "published" / "claims.yaml").unlink()  # quotes tables of other hypotheses
    edit_yaml(root / "configs" / "replay.yaml", _of_two_hypotheses)
    return root


def _of_two_hypotheses(content: dict[str, Any]) -> None:
    sets = content["option_sets"]
    content["option_sets"] = [one for one in sets if one.get("arm", {}).get("hypothesis", H1) in (H1, GRID)]


def _experiments(root: Path) -> set[str]:
    sets = yaml.safe_load((root / "ground_truth" / "sets.yaml").read_text(encoding="utf-8"))["sets"]
    return {name for one in sets.values() for name in one["experiments"]}


def _loaded(project: Path) -> Callable[[], Any]:
    return lambda: load_project(project)


def _toy(project: Path) -> Callable[[], Any]:
    """Return what loads the toy hypothesis, prices it, judges it and writes its page."""

    def read() -> Any:
        loaded = load_project(project)
        return page_files(loaded, run(loaded, TOY["id"]))

    return read


def _configuration(project: Path) -> Iterator[Reader]:
    configs, truth = project / "configs", project / "ground_truth"
    yield Reader("lab.yaml", configs / "lab.yaml", "yaml", _loaded(project))
    yield Reader("a method", configs / "methods" / "corrected.yaml", "yaml", _loaded(project))
    yield Reader("a model", configs / "models" / "llama-3.1-8b.json", "json", _toy(project))
    yield Reader("a GPU", configs / "hardware" / "h100-sxm.yaml", "yaml", _toy(project))
    yield Reader("fitted kernels", configs / "kernels" / "h100" / "analytic.yaml", "yaml", _toy(project))
    yield Reader("the vocabulary", truth / "vocabulary.yaml", "yaml", _loaded(project))
    yield Reader("the sets", truth / "sets.yaml", "yaml", _loaded(project))
    experiment = sorted(truth.glob("*/experiment.yaml"))[0]
    yield Reader("an experiment", experiment, "yaml", lambda: list(inspect(experiment.parent)), wrong_figures)
    calibration = configs / "calibration" / f"{CALIBRATION}.yaml"
    yield Reader("a calibration", calibration, "yaml", lambda: load_predictor(project, str(calibration)))
    plan = configs / "calibration" / "plans" / f"{CALIBRATION}.yaml"
    yield Reader("a plan of a fit", plan, "yaml", lambda: load_plan(project, CALIBRATION))
    yield Reader("replay.yaml", configs / "replay.yaml", "yaml", lambda: load_option_sets(load_project(project)))


def _hypotheses(project: Path) -> Iterator[Reader]:
    folder = project / "hypotheses"
    yield Reader("a hypothesis", folder / H1 / "hypothesis.yaml", "yaml", _loaded(project))
    yield Reader("a search", folder / GRID / "hypothesis.yaml", "yaml", _loaded(project))
    yield Reader("a synthetic hypothesis", folder / TOY["id"] / "hypothesis.yaml", "yaml", _toy(project))
    yield Reader("a discussion", folder / H1 / "discussion.md", "text", _loaded(project))
    yield Reader("a discussion on its page", folder / TOY["id"] / "discussion.md", "text", _toy(project))


def _published(project: Path) -> Iterator[Reader]:
    h1 = project / "hypotheses" / H1 / "published"
    for file in (h1 / "source.yaml", *sorted(h1.glob("*.csv"))[:1]):
        if file.is_file():
            yield Reader(f"published: {file.name}", file, FORMS[file.suffix], lambda: load_published(h1))
    for file in (project / "documents" / "mfu_plan_review" / "claims.yaml", *sorted(h1.glob("claims.yaml"))):
        yield Reader(f"claims: {file.parent.name}", file, "yaml", lambda: evaluate_documents(load_project(project)))
    recorded = sorted(project.glob("**/arrival_intervals.csv"))
    if recorded:
        yield Reader("recorded intervals", recorded[0], "csv", lambda: Recorded.load(recorded[0].parent))


# --- the simulator ----------------------------------------------------------------------------

RUN = {
    "model": "llama-2-7b-hf",
    "workload": {
        "requests": 4,
        "arrivals": {"kind": "poisson", "rate_per_s": 5.0},
        "prompt": {"kind": "gaussian", "mean_tokens": 40, "stdev_tokens": 5, "min_tokens": 1, "max_tokens": 80},
        "output": {"kind": "constant", "tokens": 5},
        "prefix": {"kind": "shared", "tokens": 16},
    },
    "engine": {"kv_blocks": 900, "token_budget": 512, "prefix_caching": True},
    "steptime": {"family": "mfu_roofline", "mfu": {"kind": "kernels"}, "lm_head": True},
    "metrics": {},
    "seed": 3,
}
TRACE = "arrival_us,prompt_tokens,output_tokens\n0,50,5\n1000,60,6\n3000,70,7\n"


def _simulator(folder: Path) -> Iterator[Reader]:
    folder.mkdir(parents=True)
    files = {
        "run.yaml": yaml.safe_dump(RUN, sort_keys=False),
        "runs.jsonl": json.dumps({**RUN, "steptime": {"family": "mfu_roofline", "mfu": {"kind": "kernels"}}}) + "\n",
        "steps.jsonl": json.dumps(STEP) + "\n",
        "lookup.jsonl": '{"fn": "gemm", "m": 8, "k": 4096, "n": 4096}\n',
        "trace.csv": TRACE,
        "flags.json": json.dumps(
            {"--num-requests": "4", "--prompt-tokens": "40,5,1,80", "--set": "engine.kv_blocks=90"}
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy2(ROOT / "configs" / "models" / "llama-2-7b-hf.json", folder / "model.json")
    shutil.copy2(ROOT / "configs" / "hardware" / "h100-sxm.yaml", folder / "gpu.yaml")
    tables = write_small_tables(folder / "tables")
    case = write_case(folder / "case", LINEAR_CASE, "0,0,50,5,,0\n1,9,60,6,,0\n")
    at = {name: folder / name for name in (*files, "model.json", "gpu.yaml")}
    yield Reader(
        "simulator run: file", at["run.yaml"], "yaml", lambda: command(simulate, "run", "--config", at["run.yaml"])
    )
    yield Reader("simulator run: flags", at["flags.json"], "json", _flags(at["flags.json"]))
    yield Reader("simulator run: model", at["model.json"], "json", lambda: _small("--model", at["model.json"]))
    yield Reader("simulator run: GPU", at["gpu.yaml"], "yaml", lambda: _small("--hardware", at["gpu.yaml"]))
    yield Reader("simulator run: trace", at["trace.csv"], "csv", lambda: _traced(at["trace.csv"]))
    yield Reader("simulator runs", at["runs.jsonl"], "jsonl", lambda: command(simulate, "runs", stdin=at["runs.jsonl"]))
    for name, file in (("price", "steps.jsonl"), ("lookup", "lookup.jsonl")):
        yield Reader(f"simulator {name}", at[file], "jsonl", _answered(name, tables, at[file]))
    for file in sorted(tables.rglob("*.csv"))[:3]:
        name = f"kernel tables: {file.relative_to(tables).as_posix()}"
        yield Reader(name, file, "csv", lambda: command(simulate, "audit", tables))
    for file, form in ((case / "case.json", "json"), (case / "requests.csv", "csv")):
        name = f"simulator replay: {file.name}"
        yield Reader(name, file, form, lambda: command(simulate, "replay", case, "--out", folder / "out.csv"))


def _small(*flags: object) -> str:
    return command(simulate, *SMALL, *flags)


def _traced(file: Path) -> str:
    return command(simulate, "run", "--model", "llama-2-7b-hf", "--request-trace", file)


def _answered(name: str, tables: Path, file: Path) -> Callable[[], Any]:
    return lambda: command(simulate, name, "--kernels", tables, stdin=file)


def _flags(file: Path) -> Callable[[], Any]:
    """Return what runs the flags of a file; one that holds no flags is one whose values are none."""

    def read() -> str:
        try:
            flags = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
            words = [f"{key}={value}" for key, value in flags.items()]
        except (ValueError, AttributeError, RecursionError):
            words = ["--set", file.read_text(encoding="utf-8", errors="replace")]
        return command(simulate, *SMALL, *words)

    return read


# --- evaluation and replay --------------------------------------------------------------------


def _strangers(folder: Path) -> Iterator[Reader]:
    stranger = Stranger(folder / "stranger")
    experiment = stranger.add()
    options = folder / "options.yaml"
    options.write_text(
        "family: mfu_roofline\nmfu: {kind: kernels, source: embedded}\nlm_head: true\n", encoding="utf-8"
    )
    model = stranger.folder / "models" / "strange-1b.json"

    def judged(steptime: object = CALIBRATION) -> Callable[[], Any]:
        def read() -> str:
            words = [
                stranger.folder,
                "--steptime",
                steptime,
                "--out",
                stranger.out,
                "--jobs",
                1,
                "--root",
                ROOT,
                "--force",
            ]
            return command(laboratory, "evaluate", *words)

        return read

    yield Reader("evaluate: experiment", experiment, "yaml", judged())
    yield Reader("evaluate: model", model, "json", judged())
    yield Reader("evaluate: options", options, "yaml", judged(options))


def _traces(root: Path) -> Iterator[Reader]:
    rows = replay_toy.requests()
    (root / "traces").mkdir()
    content = replay_toy.experiment([replay_toy.load_point(rows, 0)])
    replay_toy.write_experiment(root, content)
    trace = replay_toy.write_trace(root / "traces" / f"{replay_toy.EXPERIMENT}.csv", rows)

    def served() -> str:
        words = [trace, "--experiment", replay_toy.EXPERIMENT, "--out", root / "out", "--root", root]
        return command(laboratory, "replay", *words)

    yield Reader("replay: trace", trace, "csv", served)
    yield Reader("inspect a trace", trace, "csv", lambda: list(inspect(trace)))


# --- formulas ---------------------------------------------------------------------------------


class _Answers:
    """What an expression of a text may ask."""

    def gain(self, method: str, metric: str) -> float:
        return 12.5

    def status(self, method: str) -> str:
        return "confirmed"


def _formulas(folder: Path) -> Iterator[Reader]:
    text, arithmetic = folder / "text.md", folder / "formula.txt"
    text.write_text("It is {{ v.gain('corrected', 'tpot_mean') | pp }}.\n", encoding="utf-8")
    arithmetic.write_text("a * 2 + b / 3 - min(a, b)", encoding="utf-8")
    values = {"a": 3, "b": 0.5}

    def rendered() -> str:
        return render_text(text.read_text(encoding="utf-8", errors="replace"), {"v": _Answers()}, str(text))

    def computed() -> Any:
        written = arithmetic.read_text(encoding="utf-8", errors="replace")
        return formula(written)(lambda name: values.get(name, 1))

    yield Reader("a text with expressions", text, "text", rendered)
    yield Reader("a formula", arithmetic, "formula", computed)


# --- what nobody listed -----------------------------------------------------------------------


def _others(folder: Path, listed: list[Reader]) -> Iterator[Reader]:
    """Yield every public function that reads a file or folder, fed with files of no sense."""
    folder.mkdir(parents=True)
    for function in discovered():
        for suffix in (".yaml", ".json", ".csv"):
            name = f"{function.__module__.removeprefix('roofline_lab.')}.{function.__name__}"
            file = folder / f"{name}{suffix}"
            file.write_text(SOMETHING[suffix], encoding="utf-8")
            yield Reader(f"{name} of {suffix}", file, FORMS[suffix], _reading(function, file), is_sound=False)


SOMETHING = {
    ".yaml": "id: a\ntitle: b\nvalues: [1, 2.5, x]\nnested: {a: {b: [{c: 1}]}}\n",
    ".json": '{"id": "a", "values": [1, 2.5, "x"], "nested": {"a": {"b": [{"c": 1}]}}}',
    ".csv": "id,a,b\nx,1,2.5\ny,3,z\n",
}


def _reading(function: Callable[[Path], Any], file: Path) -> Callable[[], Any]:
    def read() -> Any:
        found = function(file)
        return list(found) if isinstance(found, Iterator) else found

    return read


def discovered() -> list[Callable[[Path], Any]]:
    """Return the public functions `read...` and `load...` of both packages that need one path and nothing else."""
    found = {}
    for package in (simulator, roofline_lab):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__"):
                continue
            for name, function in vars(importlib.import_module(module.name)).items():
                if name.startswith(("read", "load")) and introspection.isfunction(function) and _takes_a_path(function):
                    found[f"{function.__module__}.{function.__name__}"] = function
    return [found[name] for name in sorted(found)]


def _takes_a_path(function: Callable[..., Any]) -> bool:
    first, *rest = introspection.signature(function).parameters.values() or (None,)
    optional = all(one.default is not one.empty for one in rest)
    return first is not None and first.annotation in ("Path", Path) and first.name == "path" and optional
