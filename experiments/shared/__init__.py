"""What studies share. A study imports from here and from featvis, never from another study."""
