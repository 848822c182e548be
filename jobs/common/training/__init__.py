"""What every training shares: windows in order, processes, checkpoints, metrics and the loop around the steps."""
