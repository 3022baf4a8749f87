"""A Ray cluster of this one machine until standard input closes; Ray Serve's own HTTP interface deploys to it.

As in a Kubernetes cluster, but for the ports, which are all on 127.0.0.1.
"""

from __future__ import annotations

import json
import logging
import os
import sys

# Read by Ray when it is imported: it would replace 127.0.0.1 by the machine's own address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
from ray import serve
from ray.serve.config import HTTPOptions

if __name__ == "__main__":
    port, dashboard_port = map(int, sys.argv[1:])
    ray.init(
        num_cpus=8,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=dashboard_port,
        log_to_driver=False,
        logging_level=logging.ERROR,
        # Each of Ray's workers runs it first, those of replicas too.
        runtime_env={"worker_process_setup_hook": "anneal_serving.loopback.listen_locally"},
    )
    serve.start(proxy_location="HeadOnly", http_options=HTTPOptions(host="127.0.0.1", port=port))
    print(json.dumps({"rayMetricsPort": ray.nodes()[0]["MetricsExportPort"]}), flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()
