"""What each forward fix does to the layers of a network: functions `(module, images, seed) -> list[Change]` that work in place."""

from featvis.repair.forward.downsampling import avgpool as avgpool
from featvis.repair.forward.downsampling import blurpool as blurpool
from featvis.repair.forward.downsampling import even_kernel as even_kernel
from featvis.repair.forward.downsampling import l2pool as l2pool
from featvis.repair.forward.downsampling import pool_shortcut as pool_shortcut
from featvis.repair.forward.sites import Site as Site
from featvis.repair.forward.sites import downsamples as downsamples
from featvis.repair.forward.sites import downsamples_unevenly as downsamples_unevenly
from featvis.repair.forward.sites import enlarges as enlarges
from featvis.repair.forward.sites import overlaps_unevenly as overlaps_unevenly
from featvis.repair.forward.sites import reads_single_pixels as reads_single_pixels
from featvis.repair.forward.sites import resamples as resamples
from featvis.repair.forward.sites import site_of_layer as site_of_layer
from featvis.repair.forward.sites import takes_maxima as takes_maxima
from featvis.repair.forward.sites import upsamples as upsamples
from featvis.repair.forward.smoothing import smooth_hold as smooth_hold
from featvis.repair.forward.smoothing import stride1_smooth as stride1_smooth
from featvis.repair.forward.surrounding import inserted as inserted
from featvis.repair.forward.upsampling import resize_bilinear as resize_bilinear
from featvis.repair.forward.upsampling import resize_nearest as resize_nearest
from featvis.repair.forward.upsampling import subpixel as subpixel
from featvis.repair.forward.upsampling import subpixel_icnr as subpixel_icnr
