"""What happens in the cluster: watches FineTuneJobs and makes it so. Imports neither torch nor ray."""
