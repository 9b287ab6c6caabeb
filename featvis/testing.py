"""A check for test suites and training scripts; it lives in `featvis.audit.testing`."""

from featvis.audit.testing import PICTURES, assert_no_checkerboard

__all__ = ["PICTURES", "assert_no_checkerboard"]
