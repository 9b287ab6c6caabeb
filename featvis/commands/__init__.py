"""One file a command. Only click is imported at the top of each, so that help needs no torch."""
