"""The tasks that a model can be tuned for."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What a model is asked to do. The names are those of the Hugging Face hub where it has one."""

    TEXT_CLASSIFICATION = "text-classification"
    REGRESSION = "regression"
    MULTI_LABEL_CLASSIFICATION = "multi-label-classification"
    TOKEN_CLASSIFICATION = "token-classification"
    QUESTION_ANSWERING = "question-answering"
    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"
    TEXT_TO_TEXT = "text-to-text"
    TEXT_GENERATION = "text-generation"
    MASKED_LM = "masked-lm"
    MULTI_TASK = "multi-task"
