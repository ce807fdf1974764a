//! Reads, checks and writes OKRA packages.
