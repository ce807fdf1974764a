//! The echo of the comparison as an OKRA service: the same as `wasi-http` beside it, by the same compiler with
//! the same options.

okra_guest::export!(echo);

fn echo(_method: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    Ok(input.to_vec())
}
