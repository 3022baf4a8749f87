"""The data that comes with the repository is what its README says."""

from __future__ import annotations

from pathlib import Path

from anneal_api.spec.data import Data
from anneal_trainer.data.row_checks import check_rows
from anneal_trainer.data.splits import load_splits

FOLDER = Path(__file__).parents[3] / "manifests" / "quickstart"


def test_the_quickstart_data_has_nothing_to_complain_about() -> None:
    data = Data.model_validate({name: {"uri": f"{name}.csv"} for name in ("train", "validation", "test")})
    splits = load_splits(data, base_folder=FOLDER)
    assert list(check_rows(splits, data.columns)) == []
    counts = {name: (len(rows), rows.labels.count("positive")) for name, rows in splits.items()}
    assert counts == {"train": (3000, 1565), "validation": (872, 444), "test": (1000, 499)}
    # All three have to fit into one ConfigMap.
    assert sum(path.stat().st_size for path in FOLDER.glob("*.csv")) < 2**20
