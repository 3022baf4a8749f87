"""`anneal crd`: the CustomResourceDefinition, for `kubectl apply --server-side -f -`."""

from __future__ import annotations

from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from anneal_api.crd import custom_resource_definition

_UNBROKEN = 2**20
_HEADER = "# Written by `anneal crd` (make crds): edit the models in operator/anneal_api instead.\n"


class _Representer(RoundTripRepresenter):
    """Writes what YAML 1.1 and 1.2 read alike: Kubernetes' tools still use both."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - part of the interface
        return True

    def represent_number(self, value: float) -> ScalarNode:
        text = repr(value)
        # To YAML 1.1, `2e-05` is text and `2.0e-05` a number.
        return self.represent_scalar(
            "tag:yaml.org,2002:float", text if "." in text else text.replace("e", ".0e")
        )


_Representer.add_representer(float, _Representer.represent_number)


def crd() -> str:
    """Returns the CustomResourceDefinition as YAML. The same models always give the same text."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = _UNBROKEN
    text = StringIO()
    yaml.dump(custom_resource_definition(), text)
    return _HEADER + text.getvalue()
