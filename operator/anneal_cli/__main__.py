"""`python -m anneal_cli` is `anneal`."""

from anneal_cli.app import main

main()
