//! A whole OKRA service in one file.
//!
//! Build it with `cargo build --release --target wasm32-wasip1`, pack it with `okra package pack .`, and
//! deploy what comes out.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

okra_guest::export!(handle);

#[derive(Deserialize)]
struct GreetRequest {
    name: String,
    #[serde(default)]
    loud: bool,
}

#[derive(Serialize)]
struct GreetResponse {
    message: String,
}

#[derive(Deserialize)]
struct GreetAllRequest {
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Serialize)]
struct GreetAllResponse {
    messages: Vec<String>,
}

fn handle(method: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    match method {
        "greet" => answer(input, greet),
        "greetAll" => answer(input, greet_all),
        other => Err(format!("unknown method: {other}")),
    }
}

fn greet(request: GreetRequest) -> Result<GreetResponse, String> {
    if request.name.is_empty() {
        return Err("name must not be empty".to_owned());
    }
    let message = greeting(&request.name);
    Ok(GreetResponse { message: if request.loud { message.to_uppercase() } else { message } })
}

fn greet_all(request: GreetAllRequest) -> Result<GreetAllResponse, String> {
    Ok(GreetAllResponse { messages: request.names.iter().map(|name| greeting(name)).collect() })
}

fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

fn answer<I: DeserializeOwned, O: Serialize>(
    input: &[u8],
    method: impl FnOnce(I) -> Result<O, String>,
) -> Result<Vec<u8>, String> {
    let input = serde_json::from_slice(input).map_err(|error| format!("the input does not fit: {error}"))?;
    serde_json::to_vec(&method(input)?).map_err(|error| error.to_string())
}
