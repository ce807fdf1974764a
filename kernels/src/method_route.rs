//! `method_route`: sends a value down the branch of the method that was called.
//!
//! | port | type | |
//! |---|---|---|
//! | input `method` | string | the full method, `/pkg.Service/Method` |
//! | input `value` | any | optional; what is sent on, or else the method itself |
//! | any output | as the input `value` | named in `routes` and `default`; exactly one fires |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `routes` | | from methods to outputs |
//! | `default` | | the output for any other method; without it that is a failure |
//!
//! A route is written in full (`/pkg.Service/Method`), as the last part alone (`Method`, of any service),
//! or for a whole service (`/pkg.Service/*`); where several fit, they win in this order.
//!
//! Does not wait. Fails with UNIMPLEMENTED if no route fits and there is no default.
//!
//! ```json
//! { "id": "route", "kernel": "method_route",
//!   "params": { "routes": { "/shop.Orders/Get": "get", "/shop.Admin/*": "admin" }, "default": "other" },
//!   "inputs": ["method", "value"], "outputs": ["get", "admin", "other"] }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Emits, Fault, Gives, InputPort, Kernel, KernelFactory, NodeSpec,
    Ports, ReadInputs, RequestContext, Signature, Site, Type, TypeSet,
};
use serde::Deserialize;

use crate::ports;

/// The `method_route` kernel.
pub(crate) struct MethodRoute;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    routes: BTreeMap<String, String>,
    default: Option<String>,
}

/// Outputs by method. The three forms of a key cannot be confused: a full method starts with `/` and
/// does not end with it, a method's last part has none, a service starts and ends with it.
struct Routes {
    outputs: foldhash::HashMap<Box<str>, usize>,
    default: Option<usize>,
}

const METHOD: usize = 0;
const VALUE: usize = 1;

impl KernelFactory for MethodRoute {
    fn name(&self) -> &str {
        "method_route"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { routes, default } = node.params.parse()?;
        let gives = match node.inputs {
            Some(inputs) if inputs.contains(&"value") => Gives::SameAsInput(VALUE),
            Some(_) => Type::String.into(),
            None => Gives::AnyInput,
        };
        let (mut errors, mut outputs) = (Vec::new(), Vec::new());
        let mut bound = foldhash::HashMap::default();
        for (method, output) in &routes {
            let site = format!("/routes/{}", method.replace('~', "~0").replace('/', "~1"));
            match (key(method), ports::output(&mut outputs, output, gives, &site)) {
                (Some(key), Ok(output)) => {
                    bound.insert(key.into(), output);
                }
                (key, output) => {
                    if key.is_none() {
                        let error = BindError::new(Site::Param(site), format!("{method:?} is not a method"));
                        errors.push(error.with_help("write /pkg.Service/Method, Method, or /pkg.Service/*"));
                    }
                    errors.extend(output.err());
                }
            }
        }
        let default = default.map(|name| ports::output(&mut outputs, &name, gives, "/default")).transpose();
        let default = default.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        if routes.is_empty() {
            errors.push(BindError::new(Site::Param("/routes".to_owned()), "there are no routes"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let inputs =
            [InputPort::required("method", Type::String), InputPort::optional("value", TypeSet::ANY)];
        let mut signature = Signature::new(inputs, outputs);
        signature.emits = Emits::One;
        let routes = Routes { outputs: bound, default };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(routes)) })
    }
}

impl Kernel for Routes {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let method = ports.str(METHOD)?;
        let output = self.find(method).ok_or_else(|| unrouted(method))?;
        let value = match ports.take(VALUE) {
            Some(value) => value,
            None => ports::take(ports, METHOD)?,
        };
        ports.set(output, value);
        Ok(())
    }
}

impl Routes {
    fn find(&self, method: &str) -> Option<usize> {
        let service = method.rfind('/').map_or(0, |slash| slash + 1);
        let forms = [method, &method[service..], &method[..service]];
        forms.into_iter().find_map(|form| self.outputs.get(form).copied()).or(self.default)
    }
}

/// The key under which a route is kept, if it has one of the three forms.
fn key(method: &str) -> Option<&str> {
    let named = |part: &str| !part.is_empty() && !part.contains(['/', '*']);
    match method.strip_prefix('/') {
        None => named(method).then_some(method),
        Some(full) => {
            let (service, last) = full.rsplit_once('/')?;
            let service = named(service);
            match last {
                "*" => service.then_some(&method[..method.len() - 1]),
                last => (service && named(last)).then_some(method),
            }
        }
    }
}

#[cold]
fn unrouted(method: &Arc<str>) -> Fault {
    const SHOWN: usize = 200;
    let shown = &method[..method.floor_char_boundary(SHOWN)];
    Fault::new(Code::Unimplemented, format!("no route for the method {shown}"))
}

#[cfg(test)]
mod tests {
    use exec_plan::Value;
    use serde_json::json;

    use super::*;
    use crate::testing::{bind, outcome, problems, text};

    #[test]
    fn the_most_particular_route_wins() {
        let node = json!({"params": {
            "routes": {"/a.S/M": "full", "M": "short", "/a.S/*": "service", "/b.T/*": "full"},
            "default": "other",
        }, "inputs": ["method"]});
        for (method, expected) in [
            ("/a.S/M", "full"),
            ("/b.S/M", "short"),
            ("/b.T/M", "short"),
            ("/a.S/N", "service"),
            ("/b.T/N", "full"),
            ("M", "short"),
            ("/b.S/N", "other"),
            ("", "other"),
            ("/", "other"),
            ("/a.S/", "service"),
        ] {
            let outcome = outcome(&MethodRoute, &node, [("method", text(method))]);
            assert_eq!(outcome, format!("{expected}={method:?}"), "{method}");
        }
    }

    #[test]
    fn the_value_is_sent_on_if_there_is_one() {
        let node = json!({"params": {"routes": {"M": "m"}}, "inputs": ["method", "value"]});
        assert_eq!(bind(&MethodRoute, &node).unwrap().signature.outputs[0].gives, Gives::SameAsInput(1));
        assert_eq!(outcome(&MethodRoute, &node, [("method", text("/s/M")), ("value", Value::I64(1))]), "m=1");
    }

    #[test]
    fn a_method_without_a_route_is_not_implemented() {
        let node = json!({"params": {"routes": {"M": "m"}}});
        let expected = "UNIMPLEMENTED: no route for the method /a.S/N";
        assert_eq!(outcome(&MethodRoute, &node, [("method", text("/a.S/N"))]), expected);
    }

    #[test]
    fn routes_are_checked() {
        let node = json!({"params": {"routes": {"a/b": "x", "/a": "x", "/a/b/*": "x", "/a.S/M": "1"}, "default": "-"}});
        let expected = "\
/routes/~1a: \"/a\" is not a method
/routes/~1a.S~1M: \"1\" cannot name an output: expected letters, digits and '_'
/routes/~1a~1b~1*: \"/a/b/*\" is not a method
/routes/a~1b: \"a/b\" is not a method
/default: \"-\" cannot name an output: expected letters, digits and '_'";
        assert_eq!(problems(&MethodRoute, &node), expected);
        assert_eq!(
            problems(&MethodRoute, &json!({"params": {"routes": {}}})),
            "/routes: there are no routes"
        );
    }
}
