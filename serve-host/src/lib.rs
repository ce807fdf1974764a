//! serve-host
