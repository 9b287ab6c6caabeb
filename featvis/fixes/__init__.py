"""What each forward fix does to the layers of a network: functions `(module, images, seed) -> list[Change]` that work in place."""

from featvis.fixes.downsampling import avgpool as avgpool
from featvis.fixes.downsampling import blurpool as blurpool
from featvis.fixes.downsampling import even_kernel as even_kernel
from featvis.fixes.downsampling import l2pool as l2pool
from featvis.fixes.downsampling import pool_shortcut as pool_shortcut
from featvis.fixes.sites import Site as Site
from featvis.fixes.sites import downsamples as downsamples
from featvis.fixes.sites import downsamples_unevenly as downsamples_unevenly
from featvis.fixes.sites import enlarges as enlarges
from featvis.fixes.sites import overlaps_unevenly as overlaps_unevenly
from featvis.fixes.sites import reads_single_pixels as reads_single_pixels
from featvis.fixes.sites import resamples as resamples
from featvis.fixes.sites import site_of_layer as site_of_layer
from featvis.fixes.sites import takes_maxima as takes_maxima
from featvis.fixes.sites import upsamples as upsamples
from featvis.fixes.smoothing import smooth_hold as smooth_hold
from featvis.fixes.smoothing import stride1_smooth as stride1_smooth
from featvis.fixes.surrounding import inserted as inserted
from featvis.fixes.upsampling import resize_bilinear as resize_bilinear
from featvis.fixes.upsampling import resize_nearest as resize_nearest
from featvis.fixes.upsampling import subpixel as subpixel
from featvis.fixes.upsampling import subpixel_icnr as subpixel_icnr
