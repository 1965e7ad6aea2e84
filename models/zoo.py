"""The networks that export_zoo.py exports: public architectures with fixed random weights, nothing is downloaded.

Every function takes `full` and gives either the published size (for speed tables) or a narrow one with the same
operators (for tests that live in the repository). `attention` picks how transformers writes attention: `eager` as
separate matmuls and a softmax, `sdpa` as one operator, which opset 23 keeps as `Attention`.
"""
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Network:
    """A module with example inputs, names for inputs and outputs, and the names of the dynamic axes of each."""

    module: nn.Module
    example: tuple
    inputs: list
    outputs: list
    dynamic: dict = dataclasses.field(default_factory=dict)


NETWORKS = {}


def network(function):
    NETWORKS[function.__name__] = function
    return function


class Call(nn.Module):
    """Calls a function of a module's inputs, so that a Hugging Face module can be exported with positional inputs."""

    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, *inputs):
        return self.call(self.inner, *inputs)


def token_ids(vocabulary, length):
    return torch.randint(1, vocabulary, (1, length), dtype=torch.int64)


def image_classifier(module, size):
    dynamic = {"input": {0: "batch"}, "output": {0: "batch"}}
    return Network(module, (torch.randn(1, 3, size, size),), ["input"], ["output"], dynamic)


def token_axes(*names):
    return {name: {0: "batch", 1: "seq"} for name in names}


# Convolutional networks.


@network
def resnet50(full, attention):
    from torchvision.models import ResNet, resnet50
    from torchvision.models.resnet import Bottleneck

    module = resnet50() if full else ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=1)
    return image_classifier(module, 224 if full else 32)


@network
def mobilenet_v2(full, attention):
    from torchvision.models import MobileNetV2, mobilenet_v2

    # Expansion, output channels, blocks, stride.
    narrow = dict(num_classes=10, width_mult=0.25, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]])
    return image_classifier(mobilenet_v2() if full else MobileNetV2(**narrow), 224 if full else 32)


@network
def mobilenet_v3_large(full, attention):
    from torchvision.models import MobileNetV3, mobilenet_v3_large
    from torchvision.models.mobilenetv3 import InvertedResidualConfig

    if full:
        return image_classifier(mobilenet_v3_large(), 224)
    # Input channels, kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride, dilation.
    rows = [(8, 3, 16, 8, False, "RE", 1, 1), (8, 5, 24, 16, True, "HS", 2, 1), (16, 5, 32, 16, True, "HS", 1, 1)]
    blocks = [InvertedResidualConfig(*row, width_mult=1.0) for row in rows]
    return image_classifier(MobileNetV3(blocks, last_channel=32, num_classes=10), 32)


@network
def efficientnet_b0(full, attention):
    from torchvision.models import EfficientNet, efficientnet_b0
    from torchvision.models.efficientnet import MBConvConfig

    if full:
        return image_classifier(efficientnet_b0(), 224)
    # Expansion, kernel, stride, input channels, output channels, layers.
    blocks = [MBConvConfig(*row) for row in [(1, 3, 1, 8, 8, 1), (4, 5, 2, 8, 16, 2)]]
    return image_classifier(EfficientNet(blocks, dropout=0.0, last_channel=32, num_classes=10), 32)


@network
def crnn(full, attention):
    """Text recogniser: convolutions, a bidirectional LSTM and a linear layer."""
    channels, hidden = (32, 128) if full else (8, 12)

    class Crnn(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(), nn.MaxPool2d((2, 1)),
            )
            self.lstm = nn.LSTM(channels * 4, hidden, bidirectional=True, batch_first=True)
            self.classes = nn.Linear(2 * hidden, 20)

        def forward(self, x):
            y = self.conv(x)
            n, c, h, w = y.shape
            y, _ = self.lstm(y.permute(0, 3, 1, 2).reshape(n, w, c * h))
            return self.classes(y).log_softmax(-1)

    dynamic = {"input": {0: "batch", 3: "width"}, "output": {0: "batch", 1: "time"}}
    return Network(Crnn(), (torch.randn(1, 1, 16, 32),), ["input"], ["output"], dynamic)


# Encoders.


@network
def vit_b_16(full, attention):
    from torchvision.models import VisionTransformer, vit_b_16

    module = vit_b_16() if full else VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=10)
    return image_classifier(module, 224 if full else 32)


def bert_config(full, attention, **sizes):
    from transformers import BertConfig

    if not full:
        sizes = dict(vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                     max_position_embeddings=32)
    return BertConfig(**sizes, attn_implementation=attention)


def bert_inputs(config, length):
    tokens = token_ids(config.vocab_size, length)
    return tokens, torch.ones_like(tokens), torch.zeros_like(tokens)


@network
def bert_base(full, attention):
    from transformers import BertModel

    config = bert_config(full, attention)

    def call(bert, tokens, mask, types):
        result = bert(input_ids=tokens, attention_mask=mask, token_type_ids=types)
        return result.last_hidden_state, result.pooler_output

    names = ["input_ids", "attention_mask", "token_type_ids"]
    dynamic = {**token_axes(*names, "last_hidden_state"), "pooler_output": {0: "batch"}}
    example = bert_inputs(config, 128 if full else 12)
    return Network(Call(BertModel(config), call), example, names, ["last_hidden_state", "pooler_output"], dynamic)


@network
def minilm_l6(full, attention):
    """The sentence encoder: BERT, then mean pooling under the mask, then L2 normalisation."""
    from transformers import BertModel

    sizes = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    config = bert_config(full, attention, **sizes)

    def call(bert, tokens, mask, types):
        hidden = bert(input_ids=tokens, attention_mask=mask, token_type_ids=types).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return F.normalize((hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9), dim=1)

    names = ["input_ids", "attention_mask", "token_type_ids"]
    dynamic = {**token_axes(*names), "sentence_embedding": {0: "batch"}}
    module = Call(BertModel(config, add_pooling_layer=False), call)
    return Network(module, bert_inputs(config, 128 if full else 12), names, ["sentence_embedding"], dynamic)


@network
def distilbert(full, attention):
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    narrow = dict(vocab_size=64, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=32)
    config = DistilBertConfig(attn_implementation=attention, **({} if full else narrow))

    def call(classifier, tokens, mask):
        return classifier(input_ids=tokens, attention_mask=mask).logits

    example = bert_inputs(config, 128 if full else 12)[:2]
    dynamic = {**token_axes("input_ids", "attention_mask"), "logits": {0: "batch"}}
    module = Call(DistilBertForSequenceClassification(config), call)
    return Network(module, example, ["input_ids", "attention_mask"], ["logits"], dynamic)


@network
def t5_encoder(full, attention):
    """Relative position buckets computed in the graph."""
    from transformers import T5Config, T5EncoderModel

    narrow = dict(vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    config = T5Config(**({} if full else narrow))

    def call(encoder, tokens, mask):
        return encoder(input_ids=tokens, attention_mask=mask).last_hidden_state

    example = bert_inputs(config, 128 if full else 12)[:2]
    names = ["input_ids", "attention_mask"]
    dynamic = token_axes(*names, "last_hidden_state")
    return Network(Call(T5EncoderModel(config), call), example, names, ["last_hidden_state"], dynamic)


@network
def whisper_encoder(full, attention):
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes = dict(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536)
    narrow = dict(d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=16,
                  max_source_positions=24)
    config = WhisperConfig(**(sizes if full else narrow), attn_implementation=attention)
    example = (torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions),)
    dynamic = {"input_features": {0: "batch"}, "last_hidden_state": {0: "batch"}}
    module = Call(WhisperEncoder(config), lambda encoder, mel: encoder(mel).last_hidden_state)
    return Network(module, example, ["input_features"], ["last_hidden_state"], dynamic)


# Decoders.


def causal_mask(length, past, key_mask=None):
    """The additive mask (batch or 1, 1, length, past + length), from traced sizes.

    Given in four dimensions, transformers takes it as it is; its own mask code cannot be traced by TorchScript.
    """
    queries, keys = torch.arange(length) + past, torch.arange(length + past)
    keep = (keys[None, :] <= queries[:, None])[None, None]
    if key_mask is not None:
        keep = keep & key_mask[:, None, None, :].to(torch.bool)
    return torch.where(keep, 0.0, torch.finfo(torch.float32).min)


def gpt2_model(full, attention):
    from transformers import GPT2Config, GPT2LMHeadModel

    narrow = dict(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    config = GPT2Config(attn_implementation=attention, **({} if full else narrow))
    return config, GPT2LMHeadModel(config)


@network
def gpt2(full, attention):
    config, module = gpt2_model(full, attention)

    def call(gpt, tokens):
        return gpt(input_ids=tokens, attention_mask=causal_mask(tokens.shape[1], 0), use_cache=False).logits

    example = (token_ids(config.vocab_size, 128 if full else 12),)
    return Network(Call(module, call), example, ["input_ids"], ["logits"], token_axes("input_ids", "logits"))


def cache_axes(layers):
    """Names and dynamic axes of the past and present keys and values."""
    past = [f"past_{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    present = [name.replace("past", "present") for name in past]
    axes = {name: {0: "batch", 2: "past"} for name in past} | {name: {0: "batch", 2: "total"} for name in present}
    return past, present, axes


@network
def gpt2_kv(full, attention):
    """GPT-2 with its key/value cache as inputs and outputs."""
    config, module = gpt2_model(full, attention)
    past_length, length = 8, 4

    def call(gpt, tokens, mask, *past):
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(config.n_layer):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        seen, new = past[0].shape[2], tokens.shape[1]
        positions = (torch.arange(new) + seen)[None]
        result = gpt(input_ids=tokens, attention_mask=causal_mask(new, seen, mask), position_ids=positions,
                     past_key_values=cache, use_cache=True)
        present = [part for layer in result.past_key_values.layers for part in (layer.keys, layer.values)]
        return (result.logits, *present)

    past, present, axes = cache_axes(config.n_layer)
    cached = [torch.randn(1, config.n_head, past_length, config.n_embd // config.n_head) for _ in past]
    example = (token_ids(config.vocab_size, length), torch.ones(1, past_length + length, dtype=torch.int64), *cached)
    dynamic = {**token_axes("input_ids", "logits"), "attention_mask": {0: "batch", 1: "total"}, **axes}
    names = ["input_ids", "attention_mask", *past]
    return Network(Call(module, call), example, names, ["logits", *present], dynamic)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class LlamaLayer(nn.Module):
    """Rotary position embedding, grouped-query attention with a cache, and SwiGLU."""

    def __init__(self, width, heads, kv_heads, inner):
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, width // heads
        linear = lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False)
        self.q, self.o = linear(width, width), linear(width, width)
        self.k, self.v = linear(width, kv_heads * self.head), linear(width, kv_heads * self.head)
        self.gate, self.up, self.down = linear(width, inner), linear(width, inner), linear(inner, width)
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)

    def forward(self, x, past_k, past_v, cos, sin, mask):
        def split(y, heads):
            return y.view(batch, length, heads, self.head).transpose(1, 2)

        def rotate(y):
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        def repeat(y):
            expanded = y[:, :, None].expand(batch, self.kv_heads, groups, total, self.head)
            return expanded.reshape(batch, self.heads, total, self.head)

        batch, length, width = x.shape
        y = self.norm1(x)
        q, k, v = split(self.q(y), self.heads), split(self.k(y), self.kv_heads), split(self.v(y), self.kv_heads)
        q, k = rotate(q), torch.cat([past_k, rotate(k)], 2)
        v = torch.cat([past_v, v], 2)
        total, groups = k.shape[2], self.heads // self.kv_heads
        scores = (q @ repeat(k).transpose(-1, -2)) * (1.0 / math.sqrt(self.head)) + mask
        x = x + self.o((scores.softmax(-1) @ repeat(v)).transpose(1, 2).reshape(batch, length, width))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), k, v


class Llama(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, kv_heads, inner):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(vocabulary, width), RmsNorm(width)
        self.layers = nn.ModuleList(LlamaLayer(width, heads, kv_heads, inner) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary, bias=False)
        size = width // heads
        self.register_buffer("frequencies", 1.0 / 10000.0 ** (torch.arange(0, size, 2).float() / size))

    def forward(self, tokens, *past):
        x = self.embedding(tokens)
        length, seen = tokens.shape[1], past[0].shape[2]
        positions = torch.arange(length) + seen
        angles = positions[:, None].float() * self.frequencies[None]
        angles = torch.cat([angles, angles], -1)
        keys = torch.arange(length + seen)
        mask = torch.where(keys[None, :] <= positions[:, None], 0.0, -1e9)
        present = []
        for index, layer in enumerate(self.layers):
            x, k, v = layer(x, past[2 * index], past[2 * index + 1], angles.cos(), angles.sin(), mask)
            present += [k, v]
        return (self.head(self.norm(x)), *present)


@network
def llama_kv(full, attention):
    sizes = (32000, 768, 12, 12, 4, 2048) if full else (64, 16, 1, 4, 2, 32)
    vocabulary, width, layers, heads, kv_heads, _ = sizes
    past, present, axes = cache_axes(layers)
    cached = [torch.randn(1, kv_heads, 8, width // heads) for _ in past]
    dynamic = {**token_axes("input_ids", "logits"), **axes}
    example = (token_ids(vocabulary, 4), *cached)
    return Network(Llama(*sizes), example, ["input_ids", *past], ["logits", *present], dynamic)
