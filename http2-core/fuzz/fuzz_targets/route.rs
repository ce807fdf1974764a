//! Which way a request goes: each of the three, as its path's length says.

use http2_core::{Head, Route};

pub(crate) fn of(head: &Head) -> Route {
    match head.is_grpc() {
        true if head.path().len() % 2 == 1 => Route::Whole,
        true => Route::Unary,
        false => Route::Plain,
    }
}
