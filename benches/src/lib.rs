//! Measurements: criterion benches of the parts, and `compare`, which measures the whole binary beside
//! plain tonic servers in one run.
