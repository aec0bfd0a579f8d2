"""The open_clip adapter on a tiny model of the real class, with a byte-level tokenizer trained here."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from library_world import write_small_library
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ragdemo.errors import UserError
from ragdemo.library.search import Searcher
from ragdemo.models import encoder as encoder_module
from ragdemo.models.encoder import encoder_fingerprint, open_encoder

SPECIAL = ("<pad>", "<start>", "<end>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder")


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """A random open_clip model folder: config, fp16 weights, tokenizer."""
    folder.mkdir()
    tokenizer = train_tokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(folder)
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": tokenizer.get_vocab_size(),
            "hf_tokenizer_name": "local",
            "width": 32,
            "heads": 2,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": tokenizer.token_to_id("<end>"),
        },
    }
    torch.manual_seed(seed)
    weights = {key: value.half().contiguous() for key, value in open_clip.CLIP(**config).state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(text)
    return folder


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a quixel butterfly in the snow", "a red car at night"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<start>", "<end>")],
    )
    return tokenizer


NO_MODEL = torch.nn.Identity()  # a folder's files say enough


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "BATCH", 3)


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 40, 48, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def test_batches_equal_one_by_one_and_include_the_tail(folder: Path) -> None:
    encoder = open_encoder(f"local-dir:{folder}")
    images = pictures(7)
    vectors = encoder.embed_images(images)
    single = np.concatenate([encoder.embed_images([image]) for image in images])
    assert vectors.shape == (7, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, single, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_texts_of_any_script_and_length_become_different_unit_vectors(folder: Path) -> None:
    encoder = open_encoder(f"local-dir:{folder}")
    texts = ["a quixel butterfly", "a quixel butterfly in the snow", "蝶 🦋", "", "snow " * 100]
    vectors = encoder.embed_texts(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == len(texts)


def test_no_input_gives_no_rows(folder: Path) -> None:
    encoder = open_encoder(f"local-dir:{folder}")
    assert encoder.embed_images([]).shape == (0, 32)
    assert encoder.embed_texts([]).shape == (0, 32)


def test_a_local_folder_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a local encoder went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert open_encoder(f"local-dir:{folder}").embed_texts(["a red car"]).shape == (1, 32)


def test_the_fingerprint_follows_weights_and_tokenizer_but_not_the_place(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    for path, seed in ((first, 0), (second, 0), (other, 1)):
        write_encoder(path, seed)
    prints = [encoder_fingerprint(f"local-dir:{path}", NO_MODEL) for path in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]
    assert open_encoder(f"local-dir:{first}").fingerprint == prints[0]
    tokenizer = second / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert encoder_fingerprint(f"local-dir:{second}", NO_MODEL) != prints[0]


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"])
def test_a_missing_or_damaged_file_is_one_clear_sentence(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{broken")
    with pytest.raises(UserError, match="again"):
        open_encoder(f"local-dir:{folder}")
    (folder / name).unlink()
    with pytest.raises(UserError, match="lacks"):
        open_encoder(f"local-dir:{folder}")


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    save_file({"logit_scale": torch.zeros(())}, folder / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="cannot be loaded"):
        open_encoder(f"local-dir:{folder}")


def test_a_folder_that_would_take_another_tokenizer_is_refused(folder: Path) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="hf_tokenizer_name"):
        open_encoder(f"local-dir:{folder}")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="'ViT-B-99' is not known"):
        open_encoder("ViT-B-99")


def test_a_hub_model_is_fingerprinted_by_its_weights() -> None:
    models = [torch.nn.Linear(2, 2) for _ in range(2)]
    prints = {encoder_fingerprint("hf-hub:someone/model", model) for model in (*models, models[0])}
    assert len(prints) == 2


def test_a_library_is_searched_with_it(folder: Path, tmp_path: Path) -> None:
    library = write_small_library(tmp_path / "library", 9)
    searcher = Searcher(library, open_encoder(f"local-dir:{folder}"))
    assert searcher.search_image(library.image("image-004"), 1)[0].id == "image-004"
    assert len(searcher.search_text("a quixel butterfly", 99)) == 9
