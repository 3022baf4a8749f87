"""What a pod's log says of preflight."""

from __future__ import annotations

import logging

from anneal_api.report import DataSummary, Finding
from anneal_trainer.cluster.observer import ReportingObserver


def test_warnings_are_in_the_log_with_place_and_remedy(caplog):
    findings = [
        Finding(level="warning", what="It is short.", where="spec.data.test", remedy="Add rows."),
        Finding(level="note", what="3 steps.", where="spec.training", remedy=""),
    ]
    with caplog.at_level(logging.INFO):
        ReportingObserver(None).found(DataSummary(digest="", labels=[], splits={}, findings=findings))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "preflight: spec.data.test: It is short. Add rows.")
    ]
