"""No message to a user is lost unnoticed: every one that was ever there is still written, or says why it went.

`tests/golden/messages.txt` lists the messages of refusals and findings as templates, `{}` where a value stands. A
reworded message fails here: write into `GONE` what became of it.
`--update-golden` adds the messages that are new.
"""

from __future__ import annotations

import ast
import re

from tests.paths import ROOT

GOLDEN = ROOT / "tests" / "golden" / "messages.txt"
SOURCES = sorted([*(ROOT / "simulator").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")])
# Fewer words are a name or a unit rather than a message.
LEAST_WORDS = 4
# What passes a message on to a user, by the end of its name.
TELLS = re.compile(r"(Error|error|Problem|problem|problems|Breach|Difference|refus\w*|unknown|warn)$")
# What became of messages, and which ones.
GONE: dict[str, tuple[str, ...]] = {
    "a finding may be meant by its beginning or its alias, and a command lists them all": (
        "unknown target '{}'; did you mean '{}'? allowed: {}",
    ),
    "a lab that has no hypothesis yet is told the command that writes one": (
        "hypotheses/: no */hypothesis.yaml found; add a folder with one",
    ),
    "a failed check tells the worst numbers and counts the others, in several sentences": (
        "check failed: {} differences between reports/ and what is regenerated now {} If the change is meant, run "
        "`snakemake` (and `snakemake trust`) and commit reports/.",
    ),
    "the message names the kind of folder, because calibrations are replaced as evaluations are": (
        "--out: {} exists and is no earlier evaluation; name another folder",
        "--out: {} holds an evaluation already; name another folder, or replace it with --force",
    ),
    "a trace without latencies is predicted by replay itself, once its server is described": (
        "{}: a {}, which records no latencies, so there is nothing to compare; simulate it with: python -m simulator "
        "run --request-trace {} --model MODEL; or give it beside results that were measured with it: roofline-lab "
        "import TOOL PATH --trace FILE",
    ),
    "what is said of conversations is the same text for every tool, and so no part of a message here": (
        "scenario.load.standardized.multi_turn: conversations of several turns are not modelled; their prompts grow, "
        "and each turn waits for the one before",
    ),
    "the message names the feed-forward part as well, where some of its matrices stay in 16 bits": (
        "{}: keeps a part of the attention of layer {} in 16 bits, which is not modelled; allowed: all of it or none",
    ),
    "load points of GuideLLM whose mean lengths differ have lengths of their own": (
        "{}: metrics.output_token_count.successful.mean: {}, but over all benchmarks whose requests are not "
        "all recorded it is about {}; nothing says how long single answers were, and one mean length cannot "
        "stand for all. Put the client's {} (data with prompt_tokens, output_tokens, ..., and random-seed) "
        "beside the report, give the requests with --trace, or write a report per benchmark and import each",
    ),
    "distributions of one length fix the number of tokens as well, and the message says why this file does not": (
        "{}: successes.output_len is the client's own count of the text, and {} does not fix the number of tokens "
        "(server.ignore_eos with data.shared_prefix.output_len); give the profile that does, or run inference-perf 0.5 "
        "or newer, which records the server's count",
    ),
    "reports of GuideLLM 0.1 to 0.4 are read, and the message names them among what is known": (
        "{}: not a GuideLLM report of a version this reader knows: {}; known are version {} (GuideLLM 0.5, 0.6 and 0.8 "
        "write them); run the benchmark again",
    ),
    "the one evaluator quotes the text, the character and the nearest name, and says what is allowed": (
        "'{}' cannot be worked out: {}",
        "'{}' is not a formula; write for instance 'other.step_us / step_us'",
        "'{}': only numbers, names, + - * / // %, comparisons, and/or/not, min, max and abs can be used",
        "comparison {} is not part of the language of claims",
        "operator {} is not part of the language of claims",
        "{} is neither a number nor a word",
        "{} is not part of the language of claims",
    ),
    "comparisons may be chained": ("compare two things at a time and join with 'and'",),
    "rules about the project's own sources are tests, whose assertions name file and line": (
        "a loop without a way out",
        "a sum in the order of a set or folder",
        "bound it, or return, break or raise",
        "derive it from simulator.validation.StrictModel",
        "holds this rule and is missing or has no test",
        "raise a RooflineLabError and let the command line exit",
        "restore it, or name the test that holds it",
    ),
    "the one reader of requests says the same under the column names of the user's file": (
        "column 'completed': must be true or false, got '{}'",
        "column 'has_error': must be 0 or 1, got '{}'",
        "column 'has_error': must be 0, 1, true or false, got '{}'",
        "column 'stage': {} comes after {}; stages run one after the other",
        "column '{}': '{}' is already used on {}; ids are unique in a stage",
        "column '{}': must be a whole number, {} or greater, got '{}'",
        "column '{}': must be above 0 unless has_error is 1",
        "column '{}': must be milliseconds, 0 or greater, got '{}'",
        "column '{}': must be milliseconds, 0 or greater, or empty, got '{}'",
        "column '{}': {} is above {} {}; check both units",
        "column '{}': {} is before the row above ({}); sort the requests by arrival",
        "columns 'load_point' and 'id' must not be empty",
        "columns 'ttft_ms' and 'e2e_ms': must be above 0 unless has_error is 1",
        "no request below the header",
        "no requests; is this a trace?",
        "request {}: arrival_us {} is before the request above it ({}); sort the requests of a load point by arrival",
        "request {}: id '{}' is already used by request {}; ids are unique",
        "request {}: prefix_tokens {} exceeds prompt_tokens {}",
        "request {}: ttft_ms {} is above e2e_ms {}; check both units",
        "{}: column '{}' (or {}): missing; is this a request trace? {}",
        "{}:{}: another number of cells than the header has",
    ),
    "means that cannot be are refused with the same words, joined to the name of the user's file elsewhere": (
        "{}: {}: a mean of {} ms is not below {}, {} ms; are seconds and milliseconds mixed?",
        "{}: {}: a mean of {} ms, but {} and the time between tokens leave {} ms for it; "
        "are seconds and milliseconds mixed?",
        "{}: {}: a mean of {} ms, but {} to {} are plausible; are seconds and milliseconds mixed?",
    ),
    "shared experts that stay in 16 bits alone are modelled": (
        "{}: keeps the shared expert of layer {} in 16 bits and not the routed ones, which is not modelled; "
        "allowed: all experts of a layer or none",
    ),
    "an arm is one file, so it speaks of 'its runs'": ("does not hold the load points of this run and configuration",),
    "the first line says what bounds the step, a line of a phase where most of its time goes": (
        "A typical step takes {} ms: the median of {} {} step(s), which are {} of the run's time.",
    ),
    "gaps between tokens are counted while the run is simulated, preempted requests too": (
        "inter-token gaps: request {} was preempted; use tpot_request instead",
    ),
    "there is a third limit": (
        "goodput: set ttft_limit_ms, tpot_limit_ms or both; without a limit it is request_throughput",
    ),
    "an unknown criterion is told once, with the nearest name": (
        "no criterion or control '{}' in this hypothesis",
        "no criterion or control '{}'; {}",
    ),
    "'row given twice'": (
        "{}: line {}: gives {} a second time",
        "{}: line {}: gives {} a second time; regenerate the report",
    ),
    "conclusions are read from verdict.json alone: 'is missing or concludes nothing'": (
        "{} statuses and {} tables of criteria",
    ),
    "a quantity that is not finite is a row with a reason": ("{}, arm {}: a quantity is not finite ({})",),
    "one place reads files, and says why one cannot be read and what to do": (
        "key {} is given twice",
        "{}: cannot be read ({}); every hypothesis needs its reasoning",
        "{}: cannot be read to its end: {}; is the file complete?",
        "{}: cannot be read: {}; give a readable file or folder of {}",
        "{}: cannot be read: {}; save the file as UTF-8",
        "{}: not one JSON object: {}",
        "{}: not valid YAML: a value is not of the kind its form promises ({})",
    ),
    "a result that is not as it was made is made again; where that is noticed late, the next run does so": (
        "{}: cannot be read ({}); delete it and run snakemake again",
        "{}: is no verdict ({}); delete it and run snakemake again",
        "{}: {}; delete it and run snakemake again",
    ),
    "files of a report are read in one place: '{}; {}', the second part 'restore the file or regenerate the report'": (
        "{}: '{}' is not a finite number; restore the file or regenerate the report",
        "{}: is no verdict ({}); restore it or regenerate the report",
        "{}: is not UTF-8 text ({} at byte {}); restore it",
        "{}: line 1: columns must be {}, got {}; restore the file or regenerate the report",
        "{}: line {}: not valid CSV: {}",
    ),
    "told with the name of the file": ("does not hold the load points of its runs and configuration",),
    "results of one format have one reader, which calls them by the title of the tool": (
        "{}: date: must be like 20250131-142500, got {}; is this a vLLM result file?",
        "{}: no num_prompts and no request_throughput; is this a result that vllm bench serve wrote with "
        "--save-result?",
        "{}: not a result of vllm bench serve: the file is no JSON object",
        "{}: ttfts: a mean of {}, but mean_ttft_ms is {}; lists must be in seconds, names that end in _ms in "
        "milliseconds",
    ),
    "a result without a time per token is imported with what it has; without any latency it is refused": (
        "{}: {}: missing; run the benchmark with --percentile-metrics {}",
    ),
    "answers without a token are counted and left out": ("{}: completed: {}, but the lists have {} answered requests",),
    "a latency of 0 was not measured: leaving one figure out left zeros in the others": (
        "{}: {}: 0; every request takes time; measure with streaming on, or leave the figure out",
    ),
    "the same words in two parts": (
        "{}{}: has a verdict but no {}; restore the file or regenerate the report (or remove the whole folder, if the "
        "report is meant to go)",
    ),
    "GEMMs in BF16 need no FP8 units: the GPU runs, and one in FP8 is refused by itself": (
        "GPU '{}' has no FP8 peak, on which the GEMM curve rests; use measured tables",
        "the GPU states no FP8 peak, so GEMMs in FP8 cannot be priced on it",
    ),
    "what files call something is no option somebody gave: the message begins with what is unknown": (
        "--family: no experiment has the model '{}' yet; name its family with --family, a word of "
        "ground_truth/vocabulary.yaml ({})",
        "--hardware: no single GPU of configs/hardware is '{}'; {}",
        "--model: no model of configs/models is '{}'; name one with --model, or add configs/models/<id>.json ({})",
        "--model: the files do not name the model; {}",
    ),
    "the same words about more columns, or with the name of the file": (
        "another number of cells than the header has",
        "column 'tp': must be 1 or greater, or empty",
    ),
    "a day that nothing states is unknown, and no reason to refuse a run": (
        "{}: experiment_id '{}': names no day, such as 20260217-...; give --year",
    ),
    "client and server may both have measured a stage": ("{}: stage: {} of '{}' is given twice; remove one row",),
    "lengths may be a range too": ("{}: must be LENGTH or MEAN,STDEV,MIN,MAX in tokens, got '{}'",),
    "all reasons against an architecture are told at once, after the name of the file": (
        "{}: architecture '{}' is not modelled; allowed: {}",
        "{}: hidden_act '{}' is not modelled; allowed: silu (SwiGLU layers), or gelu_pytorch_tanh of a Gemma model "
        "(GeGLU layers)",
        "{}: layer_types: '{}' is not modelled; allowed: {}",
        "{}: mlp_only_layers means dense and expert layers mixed, which is not modelled",
        "{}: quantization_config: method '{}' is not modelled; allowed: weights of 8-bit floats (fp8, fbgemm_fp8, "
        "compressed-tensors or modelopt with them)",
        "{}: {} means {}, which is not modelled",
        "{}: {} {} is not modelled; allowed: 1 (experts in every layer)",
    ),
    "KV blocks follow from the memory, and the estimate is told with its number": (
        "KV blocks are not stated: {}",
        "the KV cache held {} GiB per GPU at its peak, more than the {} GiB of {}; lower engine.kv_blocks",
    ),
    "one message names everything that the calibrated roofline does not describe, ways to spread experts among it": (
        "model {} has multi-head latent attention, which the calibrated roofline does not describe; use roofline, "
        "data_sheet or a calibration",
    ),
    "attention in data parallel is simulated, and what a table says of it is checked against its GPUs": (
        "dp_attention: attention in data parallel is not modelled",
        "{}: attention_dp: {}; data-parallel attention is not simulated",
    ),
    "what an attention that is not modelled would need is told behind its name": (
        "{} means {}, which is not modelled",
    ),
    "instances that share nothing are simulated, and the message names how": (
        "attention_data_parallel {}: the model has no experts, so its copies are servers of their own; simulate one of "
        "them with its share of the requests",
    ),
    "the degree of every kind of parallelism is refused in the same words": (
        "tensor_parallel: must be a whole number of at least 1 (got {})",
    ),
}
REPLACED = {message for messages_gone in GONE.values() for message in messages_gone}


def strings(tree):
    """Yield every string of a module that is no docstring, f-strings as templates, with its node."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, holders)]
    skipped = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node, node.value


def told(tree):
    """Return the nodes inside what tells a user something: raised, yielded or given to a refusal."""
    tells = (
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Raise, ast.Yield))
        or (isinstance(node, ast.Call) and TELLS.search(ast.unparse(node.func).rpartition(".")[2]))
    )
    return {id(inner) for node in tells for inner in ast.walk(node)}


def messages(*, told_only):
    """Return the messages of all sources, blanks made uniform."""
    found = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = told(tree) if told_only else set()
        for node, text in strings(tree):
            uniform = " ".join(text.split())
            if len(re.findall(r"[A-Za-z]{2,}", uniform)) >= LEAST_WORDS and (not told_only or id(node) in inside):
                found.add(uniform)
    return found


def known():
    return GOLDEN.read_text(encoding="utf-8").splitlines()


def test_every_message_is_still_there_or_says_what_became_of_it(update_golden):
    written = messages(told_only=False)
    if update_golden:
        kept = {message for message in known() if message in written or message in REPLACED}
        GOLDEN.write_text("\n".join(sorted(kept | messages(told_only=True))) + "\n", encoding="utf-8")
    lost = [message for message in known() if message not in written and message not in REPLACED]
    assert lost == []


def test_what_is_said_to_be_replaced_is_really_gone():
    written = messages(told_only=False)
    assert [message for message in REPLACED if message in written or message not in known()] == []


def test_the_catalogue_holds_the_messages_of_a_refusal():
    assert len(known()) > 500
    assert any("did you mean" in message for message in messages(told_only=False))
