"""The weight matrices of a model: which every token passes through, which one routed expert has, and how they lie.

Contract: bytes, FLOPs, memory and matrix multiplications are all counted from these lists, so that they cannot
disagree about what a model is. A matrix occurs in `layers` layers, in `kept` of them in 16 bits although the model is
quantized.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil

from simulator.model import Model

# How tensor parallelism treats a matrix: each GPU holds a part of its columns, of its rows, or the whole of it.
OUTPUTS, INPUTS, WHOLE = "outputs", "inputs", "nowhere"
# What a GPU holds copies of, beyond as many GPUs as KV heads.
KEYS_AND_VALUES = "key and value projections"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of `inputs` x `outputs` that occurs `count` times per layer.

    `split` says which side tensor parallelism shards, `name` what it is called in an itemised step.
    """

    inputs: int
    outputs: int
    count: int
    split: str
    name: str = ""
    layers: int = 1
    kept: int = 0

    def shard(self, tp: int) -> Matrix:
        """Return the part one GPU holds (rounded up where it does not divide)."""
        if self.split == OUTPUTS:
            return replace(self, outputs=ceil(self.outputs / tp))
        return replace(self, inputs=ceil(self.inputs / tp)) if self.split == INPUTS else self

    @property
    def elements(self) -> int:
        """Weights in one layer."""
        return self.count * self.inputs * self.outputs


def layer_matrices(model: Model, *, fused_qkv: bool = False) -> tuple[Matrix, ...]:
    """Weights every token passes through, layer by layer."""
    return (*_attention(model, fused=fused_qkv), *_every_token(model))


def expert_matrices(model: Model) -> tuple[Matrix, ...]:
    """Weights of one routed expert; empty for a dense model."""
    if not model.num_local_experts:
        return ()
    return _feed_forward(model, model.expert_width, 1, model.routed_layers, model.unquantized_feed_forward_layers)


def stored_bytes(model: Model, matrices: Iterable[Matrix], tp: int = 1) -> float:
    """Return the bytes of matrices in all their layers, over all GPUs: those that no GPU splits count once for each."""
    kept_more = model.activation_bytes - model.weight_bytes
    total = 0.0
    for m in matrices:
        copies = tp if m.split == WHOLE else 1
        total += copies * m.elements * (m.layers * model.weight_bytes + m.kept * kept_more)
    return total


def multiplied(matrices: Iterable[Matrix], slowness: float = 1.0, tp: int = 1) -> float:
    """Return FLOPs of one token in all layers and over all GPUs.

    `slowness` says how often those count whose weights stay in 16 bits.
    """
    total = 0.0
    for m in matrices:
        copies = tp if m.split == WHOLE else 1
        total += 2 * copies * m.elements * m.layers + 2 * copies * m.elements * m.kept * (slowness - 1.0)
    return total


def parameters(model: Model) -> int:
    """Return how many weights a model has in matrices, routers and embeddings; norms, biases and encoders left out."""
    embeddings = model.vocab_size * model.hidden_size * (1 if model.tie_word_embeddings else 2)
    experts = model.num_local_experts * _occurring(expert_matrices(model))
    return embeddings + experts + _routers(model) + _occurring(layer_matrices(model))


def active_parameters(model: Model) -> int:
    """Return how many of them a token is multiplied by: its own experts, and the LM head."""
    experts = model.num_experts_per_tok * _occurring(expert_matrices(model))
    return model.vocab_size * model.hidden_size + experts + _routers(model) + _occurring(layer_matrices(model))


def _routers(model: Model) -> int:
    return model.routed_layers * model.hidden_size * model.num_local_experts


def _occurring(matrices: Iterable[Matrix]) -> int:
    return sum([m.elements * m.layers for m in matrices])


def _kept_attention(model: Model) -> tuple[int, int, int]:
    """Return a model's layers, and in how many of them attention and its output projection stay in 16 bits."""
    kept, output = model.unquantized_attention_layers, model.unquantized_output_layers
    return model.num_hidden_layers, kept, kept if output is None else output


def _latent_attention(model: Model, *, fused: bool) -> tuple[Matrix, ...]:
    """Latents are made on every GPU; what turns them into heads is split by heads (vLLM's DeepSeek-V2 module)."""
    d, heads, kv_rank, q_rank = model.hidden_size, model.num_attention_heads, model.kv_lora_rank or 0, model.q_lora_rank
    layers, kept, kept_output = _kept_attention(model)
    kept_kv, value = kv_rank + (model.qk_rope_head_dim or 0), model.v_head_dim or 0
    query = Matrix(q_rank or d, model.query_width, 1, OUTPUTS, "query projection", layers, kept)
    expanded = heads * ((model.qk_nope_head_dim or 0) + value)
    heads_of_latent = Matrix(kv_rank, expanded, 1, OUTPUTS, "keys and values from latents", layers, kept)
    output = Matrix(heads * value, d, 1, INPUTS, "output projection", layers, kept_output)
    latents = (kept_kv,) if q_rank is None else (q_rank + kept_kv,) if fused else (q_rank, kept_kv)
    made = [Matrix(d, width, 1, WHOLE, "projections to latents", layers, kept) for width in latents]
    return *made, query, heads_of_latent, output


def _attention(model: Model, *, fused: bool) -> tuple[Matrix, ...]:
    if model.latent:
        return _latent_attention(model, fused=fused)
    d, q, kv = model.hidden_size, model.query_width, model.kv_width
    layers, kept, kept_output = _kept_attention(model)
    output = Matrix(q, d, 1, INPUTS, "output projection", layers, kept_output)
    if fused:
        return Matrix(d, q + 2 * kv, 1, OUTPUTS, "QKV projection", layers, kept), output
    query = Matrix(d, q, 1, OUTPUTS, "query projection", layers, kept)
    return query, Matrix(d, kv, 2, OUTPUTS, KEYS_AND_VALUES, layers, kept), output


def _every_token(model: Model) -> tuple[Matrix, ...]:
    """Feed-forward layers of a dense model, or first dense layers and experts that every token visits."""
    if not model.num_local_experts:
        return _feed_forward(
            model, model.expert_width, 1, model.num_hidden_layers, model.unquantized_feed_forward_layers
        )
    first = model.first_k_dense_replace
    dense = _feed_forward(model, model.intermediate_size, 1, first, model.unquantized_dense_layers) if first else ()
    if not model.n_shared_experts:
        return dense
    kept = model.unquantized_shared_expert_layers
    kept = model.unquantized_feed_forward_layers if kept is None else kept
    return (*dense, *_feed_forward(model, model.expert_width, model.n_shared_experts, model.routed_layers, kept))


def _feed_forward(model: Model, width: int, copies: int, layers: int, kept: int) -> tuple[Matrix, ...]:
    d = model.hidden_size
    gate_and_up = Matrix(d, width, 2 * copies, OUTPUTS, "gate and up projections", layers, kept)
    return (gate_and_up, Matrix(width, d, copies, INPUTS, "down projection", layers, kept))
