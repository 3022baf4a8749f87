"""The manifest of a generation, as its pods read it.

It is a copy, and immutable: the job's spec may be edited while an attempt at the older one still runs.
"""

from __future__ import annotations

import json
from typing import Any

from anneal_api.identity import API_VERSION, KIND
from anneal_operator.resources import names
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned
from anneal_operator.resources.volumes import JOB_FILE


def manifest_configmap(job: Object) -> dict[str, Any]:
    """Returns the ConfigMap with the job as it is in its present generation, under `job.json`.

    Labels and annotations are left out: an edit of those makes no new generation, and must not change this.
    """
    metadata = job["metadata"]
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "generation")},
        "spec": job["spec"],
    }
    name = names.generation_name(metadata["name"], metadata["generation"])
    return stamped(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": owned(job, name, labels_of(job, generation=metadata["generation"])),
            "immutable": True,
            "data": {JOB_FILE: json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)},
        }
    )
