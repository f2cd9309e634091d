"""What `--steptime` and `--against` may name, and the predictor it means.

Contract: `load_predictor` reads one of

* a calibration: its name in `configs/calibration`, or the path of its file;
* the path of a YAML file with options of any step-time model (key `family`), and of the engine under `engine`;
* an arm of a hypothesis, `HYPOTHESIS:ARM`, resolved by the method that repeats load points as measured;

or raises one `ConfigError` that says what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.calibration.plan import FOLDER
from roofline_lab.calibration.record import load_calibration
from roofline_lab.config import Arrivals, Method, load_methods
from roofline_lab.files import digest_of_files
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.hypotheses.arms import Arm, resolve_arm
from roofline_lab.hypotheses.spec import ENGINE_KEY, Hypothesis, load_hypothesis
from roofline_lab.predict.coverage import coverage_of
from roofline_lab.predict.predictors import CalibratedPredictor, OptionsPredictor, Predictor
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from simulator.kernels.analytic import load_analytic
from simulator.steptime.options import parse_options
from simulator.validation import parse, read_yaml, suggest

# The method under which an arm predicts load points as they were measured, where its hypothesis names none that does.
METHOD = "multi_rate"
ALLOWED = (
    "a name in configs/calibration, the path of a calibration or of a YAML file with step-time options, or "
    "HYPOTHESIS:ARM"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A predictor and the content hash of the files it was read from."""

    predictor: Predictor
    digest: str


def load_predictor(root: Path, text: str, option: str = "--steptime") -> Chosen:
    """Return the predictor that `text` names; see the module.

    Parameters
    ----------
    root
        The project.
    text, option
        What a person wrote, and the option it was written behind.

    Raises
    ------
    ConfigError
        If nothing is meant by it, or the file it names is wrong.
    """
    if Path(text).is_file():
        return _file(root, Path(text), option)
    named = root / FOLDER / f"{text}.yaml"
    if named.is_file():
        return _calibration(root, named)
    if ":" in text:
        hypothesis, _, arm = text.partition(":")
        return _arm(root, hypothesis, arm, option)
    known = [path.stem for path in (root / FOLDER).glob("*.yaml")]
    raise ConfigError(f"{option}: no calibration '{text}'; give {ALLOWED} ({suggest(text, known)})")


def _file(root: Path, path: Path, option: str) -> Chosen:
    content = read_yaml(path)
    if isinstance(content, Mapping) and "constants" in content:
        return _calibration(root, path)
    if not isinstance(content, Mapping) or "family" not in content:
        raise ConfigError(f"{option}: {path.name}: has neither 'constants' nor 'family'; give {ALLOWED}")
    engine = content.get(ENGINE_KEY, {})
    parse(EngineOptions, engine, source=f"{path.name}: {ENGINE_KEY}")
    options = parse_options({key: value for key, value in content.items() if key != ENGINE_KEY}, source=path.name)
    embedded = load_analytic(root / EMBEDDED_KERNELS)
    described = f"options of {path.name} (step-time model {options.family})"
    predictor = OptionsPredictor(path.stem, described, Arm(path.stem, options, engine), embedded)
    return Chosen(predictor, digest_of_files([path], path.parent))


def _calibration(root: Path, path: Path) -> Chosen:
    calibration = load_calibration(path)
    predictor = CalibratedPredictor(calibration.name, calibration, coverage_of(calibration, root))
    return Chosen(predictor, digest_of_files([path], path.parent))


def _arm(root: Path, hypothesis: str, arm: str, option: str) -> Chosen:
    path = root / "hypotheses" / hypothesis / "hypothesis.yaml"
    known = [one.parent.name for one in (root / "hypotheses").glob("*/hypothesis.yaml")]
    if not path.is_file():
        raise ConfigError(f"{option}: unknown hypothesis '{hypothesis}'; {suggest(hypothesis, known)}")
    if "arms" not in (read_yaml(path) or {}) or read_yaml(path).get("kind") == "synthetic":
        raise ConfigError(f"{option}: {hypothesis}: prices generated batches, it has no arm that predicts a server")
    spec: Hypothesis = load_hypothesis(path, root)
    methods = load_methods(root)
    if arm not in spec.arms:
        raise ConfigError(f"{option}: {hypothesis}: unknown arm '{arm}'; {suggest(arm, spec.arms)}")
    method = _method(spec, methods, option)
    predictor = OptionsPredictor(
        name=f"{hypothesis}:{arm}",
        described=f"arm {arm} of {hypothesis} ({spec.title})",
        arm=resolve_arm(spec, method, arm),
        embedded=load_analytic(root / EMBEDDED_KERNELS),
    )
    files = [path, root / "configs" / "methods" / f"{method.id}.yaml", root / EMBEDDED_KERNELS]
    return Chosen(predictor, digest_of_files(files, root))


def _method(spec: Hypothesis, methods: Mapping[str, Method], option: str) -> Method:
    """Return the hypothesis' own method of replaying load points as measured, else the usual one."""
    own = [name for name in spec.methods if methods[name].workload.arrivals is Arrivals.AS_MEASURED]
    chosen = methods.get(own[-1] if own else METHOD)
    if chosen is None:
        raise ConfigError(f"{option}: configs/methods/{METHOD}.yaml is missing, by which arms predict load points")
    return chosen
