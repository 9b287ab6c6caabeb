"""Exact conversions between layers; they live in `featvis.repair.conversions`."""

from featvis.repair.conversions import conv_to_unshuffle, deconv_to_subpixel, resize_to_deconv, subpixel_to_deconv

__all__ = ["conv_to_unshuffle", "deconv_to_subpixel", "resize_to_deconv", "subpixel_to_deconv"]
