"""What a job leaves behind: storage, the run folder, checkpoints, progress."""
