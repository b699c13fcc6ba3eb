"""The commands, by what they are about; what is heavy is imported inside them, so that help comes at once."""
