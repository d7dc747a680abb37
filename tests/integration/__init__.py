"""Black-box tests of the pyoci command on a real host; they need root."""
