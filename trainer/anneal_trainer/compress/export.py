"""Writes a trained model as one ONNX file with a free batch size and sequence length."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from transformers import Cache, PreTrainedModel
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter

from anneal_api.errors import AnnealError
from anneal_api.published import CodecSettings
from anneal_trainer.quiet import quiet_output

_TRACE_ROWS = 2
_TRACE_TOKENS = 16


def export_onnx(model: PreTrainedModel, codec: CodecSettings, path: Path) -> None:
    """Writes a model's computation in fp32.

    Args:
        model: The trained model.
        codec: Names the inputs; the graph has exactly these, int64 [rows, tokens], and the output `logits`.
        path: The `.onnx` file; weights are inside it.

    Raises:
        AnnealError: The model has operations that ONNX cannot express.
    """
    shape = (_TRACE_ROWS, _TRACE_TOKENS)
    model.eval()
    sample: dict[str, torch.Tensor | Cache] = {
        name: torch.ones(shape, dtype=torch.int64)
        if name == "attention_mask"
        else torch.zeros(shape, dtype=torch.int64)
        for name in codec.inputs
    }
    free = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in codec.inputs}
    with tempfile.TemporaryDirectory() as scratch, quiet_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about its own internals, release by release
        try:
            exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic=True, dynamic_shapes=free))
            exported.save_pretrained(scratch)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            logging.getLogger(__name__).debug("export failed", exc_info=True)
            raise AnnealError(
                f"A model of type {model.config.model_type} cannot be written as ONNX: {error}",
                where="spec.compression",
                remedy="Report it with the model's name; other model families of the task can be exported.",
            ) from error
        whole = onnx.load(Path(scratch) / "model.onnx")
    onnx.save_model(whole, path, save_as_external_data=False)
