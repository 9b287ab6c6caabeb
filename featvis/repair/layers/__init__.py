"""Layers without a checkerboard, as ordinary modules whose arguments follow torch.nn; each in 1-D and in 2-D."""

from featvis.repair.layers.blur import BlurPool1d as BlurPool1d
from featvis.repair.layers.blur import BlurPool2d as BlurPool2d
from featvis.repair.layers.blur import SmoothHold1d as SmoothHold1d
from featvis.repair.layers.blur import SmoothHold2d as SmoothHold2d
from featvis.repair.layers.padding import PADDING_MODES as PADDING_MODES
from featvis.repair.layers.padding import pad as pad
from featvis.repair.layers.pooling import L2Pool1d as L2Pool1d
from featvis.repair.layers.pooling import L2Pool2d as L2Pool2d
from featvis.repair.layers.pooling import MaxBlurPool1d as MaxBlurPool1d
from featvis.repair.layers.pooling import MaxBlurPool2d as MaxBlurPool2d
from featvis.repair.layers.resize import ResizeConv1d as ResizeConv1d
from featvis.repair.layers.resize import ResizeConv2d as ResizeConv2d
from featvis.repair.layers.smoothing import SmoothingDeconv1d as SmoothingDeconv1d
from featvis.repair.layers.smoothing import SmoothingDeconv2d as SmoothingDeconv2d
from featvis.repair.layers.subpixel import SubPixelConv1d as SubPixelConv1d
from featvis.repair.layers.subpixel import SubPixelConv2d as SubPixelConv2d
from featvis.repair.layers.subpixel import icnr_ as icnr_
from featvis.repair.layers.subpixel import pixel_shuffle as pixel_shuffle
from featvis.repair.layers.subpixel import pixel_unshuffle as pixel_unshuffle
from featvis.repair.layers.unshuffle import UnshuffleConv1d as UnshuffleConv1d
from featvis.repair.layers.unshuffle import UnshuffleConv2d as UnshuffleConv2d
