"""The running operator: watches, reconcile loop, metrics, probes."""
