"""Software stacks: declared, deployed, proven, and loaded as modules."""
