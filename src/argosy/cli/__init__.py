"""The command `argosy`: one file per verb."""
