"""From a name to a Model: specs, checkpoints, exported programs, factories, and the networks that ship."""
