"""What can be changed in a network: layers without a checkerboard, conversions, and fixes of the forward and of the backward pass."""
