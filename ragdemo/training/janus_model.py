"""The pocket Janus before it is trained: tokenizer, model and processor, all of the library's own classes."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessor,
    JanusProcessor,
    JanusVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from ragdemo.training.janus_vq import GRID, vq_config
from ragdemo.world.render import SIZE

WIDTH, LAYERS, HEADS = 288, 6, 6
MAX_TEXT = 64
IMAGE, BEGIN, END, PAD = "<image_placeholder>", "<begin_of_image>", "<end_of_image>", "<pad>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}"
    + IMAGE
    + "\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
"""A prompt as it is: the pocket model has no turns."""


def new_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE that lower-cases; every text has tokens, and none is unknown."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    names = ("<s>", "</s>", PAD, IMAGE, BEGIN, END)
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(name, normalized=False) for name in names],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token=PAD,
        padding_side="left",
        model_max_length=MAX_TEXT,
        extra_special_tokens={"image_token": IMAGE, "boi_token": BEGIN, "eoi_token": END},
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def new_janus(tokenizer: PreTrainedTokenizerFast) -> JanusForConditionalGeneration:
    """An untrained Janus: a language model of 6M parameters, the tokenizer, and a vision tower that is never used."""
    config = JanusConfig(
        text_config=_text_config(tokenizer),
        vision_config=_vision_config(),
        vq_config=vq_config(WIDTH),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = JanusForConditionalGeneration(config)
    # an explicit one: what is set on the library's default is lost when the folder is read again
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        generation_kwargs={"boi_token_id": tokenizer.convert_tokens_to_ids(BEGIN)},
    )
    return model


def _text_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=768,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_TEXT + GRID * GRID + 8,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )


def _vision_config() -> JanusVisionConfig:
    """The smallest that the class accepts: nothing is ever shown to this model."""
    return JanusVisionConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=SIZE // GRID,
        mlp_ratio=2.0,
        projection_dim=WIDTH,
        num_image_tokens=GRID * GRID,
        depth=2,
    )


def new_processor(tokenizer: PreTrainedTokenizerFast) -> JanusProcessor:
    """The processor that `AutoProcessor` reads back."""
    images = JanusImageProcessor(
        size={"height": SIZE, "width": SIZE}, min_size=14, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return JanusProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE, num_image_tokens=GRID * GRID)
