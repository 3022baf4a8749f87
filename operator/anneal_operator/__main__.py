"""`python -m anneal_operator`."""

import sys

from anneal_operator.controller.main import main

sys.exit(main())
