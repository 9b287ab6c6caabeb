"""Gradients at many pictures, measured: audits, culprits, comparisons and repairs."""
