"""What runs inside the pods of a job: `python -m anneal_trainer.cluster prepare | train | finish | cleanup`."""
