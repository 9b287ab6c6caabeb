"""What is inside a network: its operations, the grids of their pixels, its layers, and the form that runs fastest."""
