"""What a run leaves behind: its report, the model card and the published version in the model store."""
