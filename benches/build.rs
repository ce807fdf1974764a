//! Generates the echo service of the plain tonic peer: what `protoc` with tonic's plug-in would give
//! for `echo.proto`, without needing `protoc`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let say = Method::builder()
        .name("say")
        .route_name("Say")
        .input_type("crate::peers::Message")
        .output_type("crate::peers::Message")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let echo = Service::builder().name("Echo").package("echo").method(say).build();
    Builder::new().build_client(false).compile(&[echo]);
}
