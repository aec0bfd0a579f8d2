"""The stages of the pocket Janus for a few steps, and what the library makes of the folder that they write."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, JanusForConditionalGeneration, LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import ClassifierFreeGuidanceLogitsProcessor

from ragdemo.training import janus, janus_model, janus_tokens, janus_vq
from ragdemo.training.adversarial import PatchDiscriminator, adversarial_losses
from ragdemo.training.janus import batch, code_logits
from ragdemo.training.janus_tokens import token_folder
from ragdemo.training.loop import Context
from ragdemo.training.phrasings import phrase
from ragdemo.training.shards import Shards
from ragdemo.world.pool import PoolSpec, describe_sample
from ragdemo.world.sampling import generator_sample

PROMPTS = ("a monarch butterfly in the snow", "draw me a red car")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Where all three stages have run, each for a moment and at a smaller size."""
    folder = tmp_path_factory.mktemp("janus")
    context = Context(
        folder / "work", folder / "assets" / "pocket", torch.device("cpu"), steps=2, workers=1, count=4
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(janus_vq, "GENERATOR_POOL", PoolSpec("generator", "test/janus", 4))
        patch.setattr(janus_vq, "BATCH", 2)
        patch.setattr(janus, "BATCH", 2)
        patch.setattr(janus_model, "LAYERS", 2)
        janus_vq.train_janus_vq(context)
        janus_tokens.train_janus_tokens(context)
        janus.train_janus(context)
    return context


@pytest.fixture(scope="module")
def model(context: Context) -> JanusForConditionalGeneration:
    return JanusForConditionalGeneration.from_pretrained(context.assets / "janus", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor(context: Context):
    return AutoProcessor.from_pretrained(context.assets / "janus")


def test_the_library_draws_with_the_folder_as_it_is(model: JanusForConditionalGeneration, processor) -> None:
    inputs = processor(text=list(PROMPTS), generation_mode="image", return_tensors="pt", padding=True)
    tokens = model.generate(**inputs, generation_mode="image", guidance_scale=3)
    assert tokens.shape == (2, 256)
    with torch.inference_mode():
        assert model.decode_image_tokens(tokens).shape == (2, 128, 128, 3)


def test_training_sees_a_prompt_and_its_codes_as_the_librarys_loop_does(
    model: JanusForConditionalGeneration, processor
) -> None:
    class Keep(LogitsProcessor):
        """Keeps the logits, guided, and lets the likeliest code be taken."""

        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
            self.seen.append(scores)
            return scores

    keep, guidance = Keep(), 2.0
    inputs = processor(text=list(PROMPTS), generation_mode="image", return_tensors="pt", padding=True)
    processors = LogitsProcessorList([ClassifierFreeGuidanceLogitsProcessor(guidance), keep])
    tokens = model.generate(**inputs, generation_mode="image", guidance_scale=1, logits_processor=processors)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    tokenizer = processor.tokenizer
    kept = (ids == tokenizer.bos_token_id) | (ids == tokenizer.convert_tokens_to_ids(janus_model.BEGIN))
    withheld = torch.where(kept, ids, tokenizer.pad_token_id)
    with torch.inference_mode():
        given, not_given = (code_logits(model, text, mask, tokens) for text in (ids, withheld))
    expected = not_given + guidance * (given - not_given)
    assert torch.allclose(torch.stack(keep.seen, 1).log_softmax(-1), expected.log_softmax(-1), atol=2e-3)


def test_codes_are_those_that_the_model_itself_takes(
    context: Context, model: JanusForConditionalGeneration
) -> None:
    tokens = Shards(token_folder(context))
    pictures = np.stack([np.asarray(generator_sample(janus_tokens.STREAM, i).image()) for i in range(4)])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        own = model.model.vqmodel.encode(pixels).image_tokens.reshape(4, 256)
    assert (own.numpy() == tokens.array("codes", np.arange(4))).mean() >= 0.99
    book = model.model.vqmodel.quantize.embedding.weight
    assert torch.allclose(book.norm(dim=-1), torch.ones(len(book)), atol=2e-3)


def test_whole_shards_are_kept_and_another_tokenizer_has_others(context: Context) -> None:
    folder = token_folder(context)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    janus_tokens.train_janus_tokens(context)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before
    weights = janus_vq.vq_folder(context) / "model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + b"x")
        assert token_folder(context) != folder
    finally:
        weights.write_bytes(kept)


def test_a_withheld_prompt_is_pads_under_the_same_mask(context: Context, processor) -> None:
    tokenizer, tokens = processor.tokenizer, Shards(token_folder(context))
    rows = [batch(tokens, tokenizer, step) for step in range(20)]
    pads = [(ids == tokenizer.pad_token_id) & (mask == 1) for ids, mask, _ in rows]
    shares = torch.cat(
        [pad.float().sum(1) / mask.sum(1) for pad, (_, mask, _) in zip(pads, rows, strict=True)]
    )
    assert 0 < (shares > 0).float().mean() < 0.3
    assert all((ids[:, -1] == tokenizer.convert_tokens_to_ids(janus_model.BEGIN)).all() for ids, _, _ in rows)


def test_phrasings_name_what_the_picture_shows() -> None:
    rows = [describe_sample(generator_sample("test/phrasings", i)) for i in range(200)]
    texts = [phrase(row, Random(i)) for i, row in enumerate(rows)]
    assert all(look["kind"] in text for row, text in zip(rows, texts, strict=True) for look in row["looks"])
    named = [
        text for row, text in zip(rows, texts, strict=True) for name in row["names"] if name and name in text
    ]
    assert named
    assert len({text.split()[0] for text in texts}) > 10


def test_one_backward_pass_teaches_decoder_and_discriminator_apart() -> None:
    judge, picture = PatchDiscriminator(8), torch.zeros(1, 3, 32, 32)
    picture[..., 16:] = 1
    drawn = torch.full_like(picture, 0.5, requires_grad=True)
    for_decoder, for_judge = adversarial_losses(judge, drawn, picture)
    for_decoder.backward(retain_graph=True)
    assert drawn.grad is not None
    assert all(parameter.grad is None for parameter in judge.parameters())
    before = drawn.grad.clone()
    for_judge.backward()
    assert torch.equal(drawn.grad, before)
    assert any(parameter.grad is not None for parameter in judge.parameters())
