"""The driver of a campaign: what the journal says, who takes over, which launches go to which blocks."""
