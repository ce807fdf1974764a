//! Guests that call others: the forms, the replies, and that nobody waits for himself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use kernels_wasm::{Call, Guest, GuestFault, Host, Limits, ServiceCall, ServiceError, ServiceErrorCode};

use crate::workshop::{call, engine, guest_file, load_with, module, text};

/// Connects guests by name: the payload is the input.
#[derive(Default)]
struct Net {
    guests: OnceLock<HashMap<&'static str, Guest>>,
    me: OnceLock<std::sync::Weak<Net>>,
}

impl Net {
    fn new(guests: impl IntoIterator<Item = (&'static str, Guest)>) -> Arc<Self> {
        let net = Arc::new(Self::default());
        assert!(net.guests.set(guests.into_iter().collect()).is_ok());
        assert!(net.me.set(Arc::downgrade(&net)).is_ok());
        net
    }

    async fn ask(self: &Arc<Self>, name: &str, input: &str) -> Result<String, GuestFault> {
        let guest = &self.guests.get().unwrap()[name];
        let call = Call { host: Some(self.clone()), ..call("call", input) };
        guest.call(call).await.map(|reply| text(&reply))
    }
}

impl Host for Net {
    fn call_service<'a>(&'a self, asked: ServiceCall) -> BoxFuture<'a, Result<String, ServiceError>> {
        Box::pin(async move {
            let guests = self.guests.get().unwrap();
            let Some(guest) = guests.get(&*asked.service) else {
                return Err(ServiceError::new(ServiceErrorCode::ServiceNotFound, "no such service"));
            };
            let host = self.me.get().unwrap().upgrade().unwrap();
            let nested = Call { host: Some(host), nested: true, ..call(&asked.method, asked.payload.get()) };
            match guest.call(nested).await {
                Ok(reply) => Ok(text(&reply)),
                Err(fault) => Err(ServiceError::new(ServiceErrorCode::InternalError, fault.to_string())),
            }
        })
    }
}

/// Passes its input on as a call of a service, and answers with the reply.
fn forwarder(form: &str) -> Vec<u8> {
    let (result, body) = match form {
        "packed" => ("i64", "(call $call_service (local.get $input) (local.get $len))".to_owned()),
        _ => (
            "i32 i32",
            "(call $call_service (local.get $input) (local.get $len))
             (local.set $len)
             (local.set $out)
             (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))"
                .to_owned(),
        ),
    };
    let import =
        format!("(import \"okra\" \"call_service\" (func $call_service (param i32 i32) (result {result})))");
    module(&import, "", &body)
}

fn pool_of_one() -> Limits {
    Limits { max_instances: NonZeroU32::MIN, min_instances: 0, ..Limits::default() }
}

fn to(service: &str, payload: &str) -> String {
    format!(r#"{{"service":"{service}","method":"m","payload":{payload}}}"#)
}

#[tokio::test]
async fn a_service_calls_another_in_either_form() {
    let engine = engine();
    let echo = load_with(&engine, guest_file("echo/echo.wat"), pool_of_one()).await;
    for form in ["packed", "two"] {
        let a = load_with(&engine, forwarder(form), pool_of_one()).await;
        assert!(a.imports_host());
        let net = Net::new([("a", a), ("echo", echo.clone())]);
        let reply = net.ask("a", &to("echo", r#"{"n":1}"#)).await.unwrap();
        assert_eq!(reply, r#"{"success":true,"data":{"n":1}}"#);
        let reply = net.ask("a", &to("nobody", "{}")).await.unwrap();
        assert!(reply.contains("SERVICE_NOT_FOUND"), "{reply}");
        // What is no request has no reply: a null result.
        assert_eq!(net.ask("a", "?").await, Err(GuestFault::GuestSilent));
    }
}

#[tokio::test]
async fn a_calls_b_calls_a_with_one_instance_each() {
    let engine = engine();
    let a = load_with(&engine, forwarder("packed"), pool_of_one()).await;
    let b = load_with(&engine, forwarder("two"), pool_of_one()).await;
    let echo = load_with(&engine, guest_file("echo/echo.wat"), pool_of_one()).await;
    let net = Net::new([("a", a.clone()), ("b", b), ("echo", echo)]);
    let input = to("b", &to("a", &to("b", &to("a", &to("echo", "7")))));
    for _ in 0..50 {
        let reply = net.ask("a", &input).await.unwrap();
        assert!(reply.contains(r#""data":7"#), "{reply}");
    }
    assert_eq!(a.stats().live, 1, "what went beyond one is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_call_each_other_all_get_through() {
    let engine = engine();
    let a = load_with(&engine, forwarder("packed"), pool_of_one()).await;
    let b = load_with(&engine, forwarder("packed"), pool_of_one()).await;
    let echo = load_with(&engine, guest_file("echo/echo.wat"), pool_of_one()).await;
    let net = Net::new([("a", a), ("b", b), ("echo", echo)]);
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let net = net.clone();
            let (one, other) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
            let input = to(other, &to(one, &to("echo", &n.to_string())));
            tokio::spawn(async move { (n, net.ask(one, &input).await) })
        })
        .collect();
    for call in calls {
        let (n, reply) = call.await.unwrap();
        let reply = reply.unwrap();
        assert!(reply.contains(&format!(r#""data":{n}}}"#)), "{n}: {reply}");
    }
}

#[tokio::test]
async fn the_hosts_own_functions_answer() {
    let import = "(import \"okra\" \"run_host_api\" (func $run (param i32 i32) (result i64)))
                  (import \"okra\" \"next\" (func $next (param i32 i32) (result i32 i32)))";
    let body = "(call $run (local.get $input) (local.get $len))";
    let guest = load_with(&engine(), module(import, "", body), Limits::default()).await;
    for (request, expected) in [
        (r#"{"api":"okra.time","method":"now"}"#, r#""timezone":"UTC""#),
        (r#"{"api":"okra.sql","method":"query"}"#, "host API okra.sql not found"),
        (
            r#"{"api":"okra.call","method":"call","parameters":{"service":"s","method":"m"}}"#,
            "SERVICE_NOT_FOUND",
        ),
    ] {
        let reply = guest.call(call("m", request)).await.unwrap();
        assert!(text(&reply).contains(expected), "{}", text(&reply));
    }
}
