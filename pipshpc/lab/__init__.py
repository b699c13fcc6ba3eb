"""The cluster in a box: a real Slurm on virtual nodes of one machine, for tests and for learning."""
