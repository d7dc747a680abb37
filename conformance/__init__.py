"""Black-box tests of the OCI runtime specification, for any runtime."""
