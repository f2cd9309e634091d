"""The language model that is run: its shape, in Hugging Face field names.

Contract: a `Model` is immutable and checked; `simulator.model_files` reads it from files, `model_from_config` from a
mapping, and both raise `ConfigError` (file, key, value) or `UnsupportedError` (an architecture the formulas do not
describe). Supported are decoder-only transformers with grouped-query attention and gated (SwiGLU,
GeGLU) feed-forward layers, dense or with routed experts in every layer but the first few, and such with multi-head
latent attention; which keys of a
configuration count is said in `simulator.huggingface`.

Whether it can be split over a number of GPUs is a separate question: see `simulator.parallelism`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from simulator.huggingface import shape_of
from simulator.quantization import Quantization, bytes_per_weight
from simulator.validation import Count, Efficiency, NonNegativeInt, StrictModel, parse

BYTES_PER_VALUE = {"bfloat16": 2, "float16": 2, "float32": 4}
# How a server may keep keys and values, named as by vLLM: bytes of one value, None meaning as activations.
KV_CACHE_BYTES = {"auto": None, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
KvCacheType = Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"]
# Words by which checkpoints say in their name how weights are stored.
_STORED = re.compile(r"(?<![a-z0-9])(?:fp8|fp4|nvfp4|mxfp4|int8|int4|w8a8|w4a16|awq|gptq)(?![a-z0-9])", re.IGNORECASE)


class GenerationDefaults(StrictModel):
    """How tokens are sampled where a request does not say, from Hugging Face's `generation_config.json`.

    Attributes
    ----------
    top_p, top_k
        Sampling only among the most likely tokens: those that add up to `top_p`, the first `top_k`.
        None (or 1.0, 0): all tokens, which needs no sorting of the vocabulary.
    source
        Where the two are stated.
    """

    top_p: Efficiency | None = None
    top_k: NonNegativeInt | None = None
    source: str

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are cut off, for which a server sorts every request's logits."""
        return (self.top_p or 1.0) < 1.0 or bool(self.top_k)


class Model(StrictModel):
    """Shape of one decoder-only transformer.

    Attributes
    ----------
    id, name, source
        Name used by experiments, name for people, and where the figures come from.
    hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads
        Width, depth, query heads and key/value heads.
    intermediate_size
        Width of a feed-forward layer, or of one expert where `moe_intermediate_size` is absent.
    head_dim
        Elements per head; None means `hidden_size // num_attention_heads`.
    kv_lora_rank, q_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim
        Multi-head latent attention, where `kv_lora_rank` is given: values of the latent that all heads' keys and
        values are made of, the same for queries (None: made directly), and elements of a head's keys without and with
        rotation and of its values. A token keeps its latent and one rotated key, for all heads.
    qk_norm_across_heads
        Whether queries and keys are normed over all heads together, so that GPUs that split the heads add up what
        each has of the norm. A norm of every head on its own costs no kernel that could be told from the rotation's.
    first_k_dense_replace
        How many first layers have a dense part of `intermediate_size` in place of experts.
    sliding_window, sliding_window_layers
        In how many layers a token attends to the last `sliding_window` tokens alone, itself included.
    num_local_experts, num_experts_per_tok, n_shared_experts, moe_intermediate_size
        Routed experts per layer (0: dense), experts each token visits, experts every token
        visits, and the width of one expert.
    torch_dtype
        Type of activations, of the KV cache unless stated otherwise, and of the weights unless quantized.
    quantization
        `fp8`, `int8`: weights have one byte and GEMMs run on the 8-bit units; `w8a16`, `int4`: weights of 8 or 4 bits
        are multiplied in 16; `mxfp4`, `nvfp4`: floats of 4 bits, multiplied on the units `simulator.steptime.gemm`
        says. The KV cache stays `kv_cache_dtype`. Embeddings and LM head are never quantized.
    unquantized_attention_layers, unquantized_feed_forward_layers, unquantized_shared_expert_layers
        In how many layers these parts stay in `torch_dtype` all the same; shared experts where None as the routed ones.
    unquantized_output_layers
        The same of the output projection of attention; None: as the rest of attention.
    unquantized_dense_layers
        The same of the first dense layers before routed ones.
    quantized_block
        Width of the blocks or groups of weights that have one scale each; a GPU holds whole ones. None: not stated.
    kv_cache_dtype
        Type of the KV cache; `auto`: as activations. A choice of the server, or of the scales a checkpoint brings; see
        `with_kv_cache`.
    encoder_parameters
        Weights of encoders of images or sounds, in `torch_dtype`; they take memory, and no time of steps on text.
    generation_config
        How a server samples from this model by default; None where not stated.
    left_out
        Keys of its file that no formula uses.
    """

    id: str
    name: str | None = None
    source: str
    architectures: tuple[str, ...] = ()
    hidden_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    intermediate_size: Count
    vocab_size: Count
    max_position_embeddings: Count | None = None
    head_dim: Count | None = None
    torch_dtype: Literal["bfloat16", "float16", "float32"]
    hidden_act: Literal["silu", "gelu_pytorch_tanh"] = "silu"
    tie_word_embeddings: bool = False
    sliding_window: Count | None = None
    use_sliding_window: bool | None = None
    sliding_window_layers: NonNegativeInt = 0
    kv_lora_rank: Count | None = None
    q_lora_rank: Count | None = None
    qk_nope_head_dim: Count | None = None
    qk_rope_head_dim: Count | None = None
    v_head_dim: Count | None = None
    qk_norm_across_heads: bool = False
    first_k_dense_replace: NonNegativeInt = 0
    num_local_experts: NonNegativeInt = 0
    num_experts_per_tok: NonNegativeInt = 0
    n_shared_experts: NonNegativeInt = 0
    moe_intermediate_size: Count | None = None
    quantization: Quantization | None = None
    unquantized_attention_layers: NonNegativeInt = 0
    unquantized_output_layers: NonNegativeInt | None = None
    unquantized_feed_forward_layers: NonNegativeInt = 0
    unquantized_shared_expert_layers: NonNegativeInt | None = None
    unquantized_dense_layers: NonNegativeInt = 0
    quantized_block: Count | None = None
    kv_cache_dtype: KvCacheType = "auto"
    encoder_parameters: NonNegativeInt = 0
    generation_config: GenerationDefaults | None = None
    left_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        if self.head_dim is None and self.num_attention_heads > self.hidden_size:
            raise ValueError("num_attention_heads must not exceed hidden_size where head_dim is not given")
        if self.num_key_value_heads > self.num_attention_heads:
            raise ValueError("num_key_value_heads must not exceed num_attention_heads")
        if self.num_local_experts and not 1 <= self.num_experts_per_tok <= self.num_local_experts:
            raise ValueError("num_experts_per_tok must lie in 1..num_local_experts for a mixture of experts")
        if not self.num_local_experts and (self.num_experts_per_tok or self.n_shared_experts):
            raise ValueError("num_experts_per_tok and n_shared_experts need num_local_experts")
        if self.sliding_window_layers > (self.num_hidden_layers if self.sliding_window else 0):
            raise ValueError("sliding_window_layers needs sliding_window, and is at most num_hidden_layers")
        kept = max(
            self.unquantized_attention_layers,
            self.unquantized_output_layers or 0,
            self.unquantized_feed_forward_layers,
            self.unquantized_shared_expert_layers or 0,
            self.unquantized_dense_layers,
        )
        if self.first_k_dense_replace >= (self.num_hidden_layers if self.num_local_experts else 1):
            raise ValueError("first_k_dense_replace needs num_local_experts, and leaves a layer for them")
        if self.latent and not (self.qk_nope_head_dim and self.qk_rope_head_dim and self.v_head_dim):
            raise ValueError("kv_lora_rank needs qk_nope_head_dim, qk_rope_head_dim and v_head_dim")
        if self.latent and self.sliding_window_layers:
            raise ValueError("sliding_window_layers beside kv_lora_rank is not modelled")
        if kept > (self.num_hidden_layers if self.quantization else 0):
            raise ValueError("unquantized layers need quantization, and no more than num_hidden_layers of them")
        return self

    @property
    def head_elements(self) -> int:
        """Elements per attention head, e."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def latent(self) -> bool:
        """Whether keys and values of all heads are kept as one latent."""
        return self.kv_lora_rank is not None

    @property
    def query_width(self) -> int:
        """Width of the concatenated query heads, h * e; equals `hidden_size` in most models."""
        if self.latent:
            return self.num_attention_heads * ((self.qk_nope_head_dim or 0) + (self.qk_rope_head_dim or 0))
        return self.num_attention_heads * self.head_elements

    @property
    def kv_width(self) -> int:
        """Width of the concatenated key (or value) heads, g * e."""
        return self.num_key_value_heads * self.head_elements

    @property
    def activation_bytes(self) -> int:
        """Bytes of one activation."""
        return BYTES_PER_VALUE[self.torch_dtype]

    @property
    def kv_value_bytes(self) -> int:
        """Bytes of one value in the KV cache."""
        return KV_CACHE_BYTES[self.kv_cache_dtype] or self.activation_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token in all layers, over all KV heads."""
        values = (self.kv_lora_rank or 0) + (self.qk_rope_head_dim or 0) if self.latent else 2 * self.kv_width
        return self.num_hidden_layers * values * self.kv_value_bytes

    @property
    def pair_flops(self) -> int:
        """FLOPs of one layer per new token and one it attends to, keys and values of every head being at hand."""
        if self.latent:
            return 2 * (self.query_width + self.num_attention_heads * (self.v_head_dim or 0))
        return 4 * self.query_width

    @property
    def decode_pair_flops(self) -> int:
        """The same in decode, where queries meet the latent itself (absorbed projections)."""
        if self.latent:
            return 2 * self.num_attention_heads * (2 * (self.kv_lora_rank or 0) + (self.qk_rope_head_dim or 0))
        return self.pair_flops

    @property
    def expansion_flops(self) -> int:
        """FLOPs of one layer to make keys and values of one past token from its latent; 0 where they are kept."""
        if not self.latent:
            return 0
        heads = (self.qk_nope_head_dim or 0) + (self.v_head_dim or 0)
        return 2 * (self.kv_lora_rank or 0) * self.num_attention_heads * heads

    def with_kv_cache(self, dtype: KvCacheType) -> Model:
        """Return the model as a server runs it that keeps its KV cache in `dtype`."""
        return self.model_copy(update={"kv_cache_dtype": dtype})

    def kv_copies(self, tensor_parallel: int) -> float:
        """Return how often every KV head is held by a tensor-parallel group.

        A GPU holds at least one whole KV head, so beyond as many GPUs as KV heads nothing more is split. A latent
        is whole on every GPU.
        """
        if self.latent:
            return tensor_parallel
        return max(1, tensor_parallel / self.num_key_value_heads)

    @property
    def weight_bytes(self) -> float:
        """Bytes of one weight of a layer, its share of the scales included."""
        if self.quantization is None:
            return self.activation_bytes
        return bytes_per_weight(self.quantization, self.quantized_block)

    @property
    def routed_layers(self) -> int:
        """Layers with routed experts."""
        return self.num_hidden_layers - self.first_k_dense_replace if self.num_local_experts else 0

    @property
    def expert_width(self) -> int:
        """Width of one routed or shared expert, or of the dense feed-forward layer."""
        return self.moe_intermediate_size or self.intermediate_size

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know about how this model is treated."""
        found = []
        if self.sliding_window is not None and self._slides and not self.sliding_window_layers:
            found.append(f"{self.id}: sliding_window {self.sliding_window} is not modelled; attention sees all tokens")
        if self.encoder_parameters:
            found.append(
                f"{self.id}: images and sounds are not modelled; their encoder counts as about "
                f"{self.encoder_parameters / 1e9:.1f} billion weights of memory"
            )
        promised = None if self.quantization else _STORED.search(self.id)
        if promised:
            found.append(
                f"{self.id}: its name says {promised[0].upper()}, its files do not: weights are taken to be of 16 "
                "bits. Put quantization_config into config.json, or hf_quant_config.json beside it"
            )
        if self.left_out:
            found.append(self.left_out_warning)
        return tuple(found)

    @property
    def _slides(self) -> bool:
        """Whether a sliding window leaves anything out of the longest context."""
        longest = self.max_position_embeddings
        return self.use_sliding_window is not False and (longest is None or (self.sliding_window or 0) < longest)

    @property
    def left_out_warning(self) -> str:
        """Name the keys of its file that nothing uses."""
        return f"{self.id}: keys of its file that nothing uses: {', '.join(self.left_out)}"


def model_from_config(config: object, *, source: str) -> Model:
    """Validate one description in the project's own form, which states `id` and `source`.

    Raises
    ------
    ConfigError
        If a field is missing, unknown or inconsistent.
    UnsupportedError
        If the architecture is not the one the formulas describe.
    """
    if not isinstance(config, Mapping):
        return parse(Model, config, source=source)
    return parse(Model, shape_of(config, source), source=source)
