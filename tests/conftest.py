"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow, which is no finding.
settings.register_profile("anneal", deadline=None)
settings.load_profile("anneal")
