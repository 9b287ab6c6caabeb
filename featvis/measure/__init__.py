"""How uneven an energy is, at which periods, how sure that is, and in which words."""
