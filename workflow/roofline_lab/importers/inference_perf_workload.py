"""What an inference-perf client sent, from the configuration it wrote and the profile it was given.

Contract: `read_profile` needs `config.yaml` (what ran) or `profile.yaml` (what was asked for); where
both are there, the first decides and differences become findings. A shared-prefix data set is a pool
of prompts sent in turn; its arrivals are exponential gaps stretched to the length of the stage.

Sources: inference-perf at commit e8e0aa99 and version 0.7.0, load timer and shared-prefix data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.imported import Foreign, WholeNumber
from roofline_lab.importers.surroundings import PROFILE_FILE, read_mapping
from simulator.errors import ConfigError
from simulator.validation import parse

CONFIG_FILE = "config.yaml"

# Group counts that a client of before February 2026 knew, and the names it silently dropped.
OLD_KEYS = ("num_groups", "num_prompts_per_group")
NEW_KEYS = ("num_unique_system_prompts", "num_users_per_system_prompt")


# Prompts that such a client sends where it was told nothing it understood: 10 groups of 10
# (defaults of commit e8e0aa99, as the `config.yaml` it writes shows).
OLD_POOL = 100


class _SharedPrefix(Foreign):
    groups: WholeNumber | None = Field(None, validation_alias=AliasChoices(OLD_KEYS[0], NEW_KEYS[0]))
    prompts_per_group: WholeNumber | None = Field(None, validation_alias=AliasChoices(OLD_KEYS[1], NEW_KEYS[1]))
    system_prompt_len: WholeNumber | None = None
    question_len: WholeNumber | None = None
    output_len: WholeNumber | None = None


class _Data(Foreign):
    type: str
    shared_prefix: _SharedPrefix | None = None


class _Load(Foreign):
    type: str


class _Server(Foreign):
    ignore_eos: bool | None = None
    model_name: str | None = None


class _Config(Foreign):
    data: _Data
    load: _Load
    server: _Server | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What was sent.

    Attributes
    ----------
    file
        Where this is from.
    pool
        Number of prompts sent in turn; None if prompts do not repeat as far as is known.
    output_tokens
        Tokens every request generates; None where the server may stop earlier.
    findings
        What the files say that the server's and our reading of them differ in.
    lengths_recorded
        Whether single prompt lengths are known.
    new_names
        Whether the pool is described by names that old clients drop, and nobody recorded what ran.
    """

    file: str
    load_type: str
    model_name: str | None
    pool: int | None
    output_tokens: int | None
    findings: tuple[lint.Finding, ...] = ()
    lengths_recorded: bool = False
    new_names: bool = False

    def as_sent(self, *, stream_lines: bool) -> Profile:
        """Return the profile as a client understood it that counts stream lines, if this one does.

        Such a client is older than the names of today, so it dropped them and used its defaults.
        """
        if not (stream_lines and self.new_names):
            return self
        text = (
            f"The profile asks for {self.pool} prompts by names that a client which counts stream lines does not know; "
            f"it sends its default of {OLD_POOL} prompts in turn, and the prefix cache holds all but the first round."
        )
        repeat = lint.Finding(Flag.PROMPTS_REPEAT, text, float(OLD_POOL))
        others = tuple(finding for finding in self.findings if finding.flag is not Flag.PROMPTS_REPEAT)
        return replace(self, pool=OLD_POOL, findings=(*others, repeat))

    def generated_tokens(self, reported: float, from_server: bool, file: str) -> float:
        """Return the mean number of tokens generated per request.

        Raises
        ------
        ConfigError
            If neither profile nor server says it.
        """
        if self.output_tokens is not None:
            return float(self.output_tokens)
        if from_server and reported > 0:
            return reported
        raise ConfigError(
            f"{file}: successes.output_len is the client's own count of the text, and {self.file} does not fix the "
            "number of tokens (server.ignore_eos with data.shared_prefix.output_len); give the profile that does, or "
            "run inference-perf 0.5 or newer, which records the server's count"
        )

    def arrivals(self, rate: float | None, concurrency: int | None, file: str) -> dict[str, Any]:
        """Return how requests of one stage arrived.

        Raises
        ------
        ConfigError
            If the load is neither a rate nor a number of clients.
        """
        if concurrency:
            return {"kind": "closed_loop", "concurrency": concurrency}
        if rate and self.load_type in ("constant", "poisson"):
            return {"kind": "poisson", "rate_per_s": rate, "rescaled": True}
        raise ConfigError(
            f"{file}: load_summary.requested_rate: missing or 0 for load type '{self.load_type[:40]}'; allowed: "
            "constant or poisson with a rate, or a stage with concurrency"
        )

    def workload(self, mean_prompt_tokens: float) -> dict[str, Any]:
        """Return prompt, output and prefix as the format writes them."""
        prefix = {"kind": "prompt_pool", "prompts": self.pool} if self.pool else {"kind": "none"}
        note = "Mean prompt length as measured; answers have the length the profile fixes."
        if self.pool:
            note += f" {self.pool} prompts are sent in turn."
        return {
            "prompt": {"kind": "constant", "tokens": max(1, round(mean_prompt_tokens))},
            "output": {"kind": "constant", "tokens": self.output_tokens or 1},
            "prefix": prefix,
            "note": note,
        }


def read_profile(results: Path, run: Path) -> Profile:
    """Read `config.yaml` of the results, else of the run, and the `profile.yaml` beside it.

    Raises
    ------
    ConfigError
        If both are missing, or one is damaged.
    """
    ran = next((one for one in (results / CONFIG_FILE, run / CONFIG_FILE) if one.is_file()), None)
    asked = next((one for one in (run / PROFILE_FILE, results / PROFILE_FILE) if one.is_file()), None)
    if ran is None and asked is None:
        raise ConfigError(
            f"{run}: neither {CONFIG_FILE} nor {PROFILE_FILE}; the metrics do not say how many tokens were generated "
            "or which prompts repeat, so put the client's configuration beside them"
        )
    path = ran or asked
    if path is None:
        raise ConfigError(f"{run}: no profile")
    profile = _profile(path, read_mapping(path))
    return replace(profile, findings=_differences(profile, read_mapping(asked) if ran and asked else {}))


def _profile(path: Path, content: Mapping[str, Any]) -> Profile:
    config = parse(_Config, content, source=str(path))
    shared = config.data.shared_prefix if config.data.type == "shared_prefix" else None
    server = config.server or _Server()
    pool = (shared.groups or 0) * (shared.prompts_per_group or 0) if shared else 0
    fixed = shared is not None and bool(server.ignore_eos) and bool(shared.output_len)
    return Profile(
        file=path.name,
        load_type=config.load.type,
        model_name=server.model_name,
        pool=pool or None,
        output_tokens=shared.output_len if shared is not None and fixed else None,
        new_names=path.name != CONFIG_FILE and _in_new_names(content),
    )


def _in_new_names(content: Mapping[str, Any]) -> bool:
    shared = content["data"].get("shared_prefix")
    return isinstance(shared, Mapping) and any(key in shared for key in NEW_KEYS) and OLD_KEYS[0] not in shared


def _differences(profile: Profile, asked: Mapping[str, Any]) -> tuple[lint.Finding, ...]:
    findings = []
    if profile.load_type == "constant":
        text = "The timer called constant draws exponential gaps and stretches them to the length of the stage."
        findings.append(lint.Finding(Flag.CONSTANT_IS_POISSON, text))
    if profile.pool:
        text = (
            f"The client sends {profile.pool} prompts in turn; after the first round the prefix cache holds them, so "
            "that TTFT is that of cached prompts."
        )
        data = asked.get("data")
        wanted = data.get("shared_prefix") if isinstance(data, Mapping) else None
        given = [wanted.get(key) for key in NEW_KEYS] if isinstance(wanted, Mapping) else []
        groups = [one for one in given if isinstance(one, int)]
        if len(groups) == len(NEW_KEYS) and groups[0] * groups[1] != profile.pool:
            text += f" The profile asked for {groups[0]} x {groups[1]} prompts, which this client did not understand."
        findings.append(lint.Finding(Flag.PROMPTS_REPEAT, text, float(profile.pool)))
    return tuple(findings)
