//! Which message a node is about: of a service that is deployed, by its name or by a method's side.
//!
//! A node that gives a digest is bound when its graph is compiled, to that package for good. Without one
//! it follows what is current under the id, looked up at each run.

use std::collections::HashMap;
use std::sync::Arc;

use exec_plan::{BindError, Code, Fault, InputPort, ReadInputs, Site, Type};
use proto_json::{Message, Schema};
use serde::Deserialize;

use crate::{Service, Services};

/// Which message of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// What the client sends: what is wrong with it is the client's fault.
    Input,
    /// What the service answers: what is wrong with it is ours.
    Output,
}

/// The parameters that choose a message, as the kernels have them.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) service: Arc<str>,
    pub(crate) digest: Option<Arc<str>>,
    pub(crate) method: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) side: Side,
}

/// A message as a node knows it.
#[derive(Clone, Debug)]
pub(crate) struct MessageSource {
    service: Arc<str>,
    name: Name,
    side: Side,
    from: From,
}

#[derive(Clone, Debug)]
enum Name {
    Message(Arc<str>),
    Method(Arc<str>),
    /// The method comes with each run, through an input.
    Given,
}

#[derive(Clone, Debug)]
enum From {
    /// One package: the message itself, or that of each method by name.
    Message(Message),
    Methods(Arc<HashMap<String, Message>>),
    /// Whatever is current.
    Current(Services),
}

// === impl Choice ===

impl Choice {
    /// Binds a node to the message that its parameters choose.
    ///
    /// # Errors
    /// The package is not loaded or has no such message, or the parameters say too much.
    pub(crate) fn bind(self, services: &Services) -> Result<MessageSource, Vec<BindError>> {
        let at = |key: &str, message: String| vec![BindError::new(Site::Param(format!("/{key}")), message)];
        let Self { service, digest, method, message, side } = self;
        let name = match (message, method) {
            (Some(_), Some(_)) => {
                return Err(at("method", "the parameter `message` names the message already".to_owned()));
            }
            (Some(message), None) => Name::Message(message.into()),
            (None, Some(method)) => Name::Method(method.into()),
            (None, None) => Name::Given,
        };
        let Some(digest) = digest else {
            return Ok(MessageSource { service, name, side, from: From::Current(services.clone()) });
        };
        let package = services.exact(&service, &digest);
        let package =
            package.ok_or_else(|| at("digest", format!("no package {digest} is loaded for {service}")))?;
        let from = match &name {
            Name::Message(message) => {
                let found = package.schema.message(message);
                From::Message(
                    found.ok_or_else(|| at("message", format!("{service} has no message {message}")))?,
                )
            }
            Name::Method(method) => {
                let found = method_message(&package, method, side);
                From::Message(found.ok_or_else(|| at("method", format!("{service} has no method {method}")))?)
            }
            Name::Given => From::Methods(Arc::new(methods(&package, side))),
        };
        Ok(MessageSource { service, name, side, from })
    }
}

// === impl MessageSource ===

impl MessageSource {
    /// The input that chooses the method, if the parameters don't.
    pub(crate) fn port(&self) -> Option<InputPort> {
        matches!(self.name, Name::Given).then(|| InputPort::required("method", Type::String))
    }

    /// The message, if it is the same at each run.
    pub(crate) fn fixed(&self) -> Option<&Message> {
        match &self.from {
            From::Message(message) => Some(message),
            From::Methods(_) | From::Current(_) => None,
        }
    }

    /// The message of this run, whose method, if it is asked for, comes through the input `method`.
    ///
    /// # Errors
    /// FAILED_PRECONDITION if the service is not deployed, UNIMPLEMENTED if it has no such method, INTERNAL if it
    /// has no such message.
    pub(crate) fn message(&self, ports: &impl ReadInputs, method: usize) -> Result<Message, Fault> {
        let service = &self.service;
        let no_method =
            |method: &str| Fault::new(Code::Unimplemented, format!("{service} has no method {method}"));
        let services = match &self.from {
            From::Message(message) => return Ok(message.clone()),
            From::Methods(methods) => {
                let given = ports.str(method)?;
                return methods.get(method_name(given)).cloned().ok_or_else(|| no_method(given));
            }
            From::Current(services) => services,
        };
        let package = services.current(service);
        let package = package.ok_or_else(|| {
            Fault::new(Code::FailedPrecondition, format!("service {service} is not deployed here"))
        })?;
        let method: &str = match &self.name {
            Name::Message(message) => {
                return package.schema.message(message).ok_or_else(|| {
                    Fault::new(Code::Internal, format!("{service} has no message {message}"))
                });
            }
            Name::Method(method) => method,
            Name::Given => ports.str(method)?,
        };
        method_message(&package, method, self.side).ok_or_else(|| no_method(method))
    }

    /// A failure to read or write a message: the client's or ours, by the side it stands on.
    #[cold]
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        match self.side {
            Side::Input => Fault::new(Code::InvalidArgument, message.into()),
            Side::Output => Fault::new(Code::Internal, message.into()),
        }
    }
}

/// The last part of `/pkg.Service/Method`, or the whole of `Method`.
fn method_name(method: &str) -> &str {
    method.rsplit_once('/').map_or(method, |(_, name)| name)
}

fn method_message(package: &Service, method: &str, side: Side) -> Option<Message> {
    let method = service_of(&package.schema, &package.route)?.method(method_name(method))?;
    Some(match side {
        Side::Input => method.input,
        Side::Output => method.output,
    })
}

fn methods(package: &Service, side: Side) -> HashMap<String, Message> {
    let Some(service) = service_of(&package.schema, &package.route) else { return HashMap::new() };
    let message = |method: proto_json::Method| match side {
        Side::Input => (method.name, method.input),
        Side::Output => (method.name, method.output),
    };
    service.methods().map(message).collect()
}

/// The service of a route. The namespace of a package need not be the protobuf package of its schema, so
/// the service's own name decides where the full one is not there.
fn service_of(schema: &Schema, route: &str) -> Option<proto_json::Service> {
    let own = |name: &str| name.rsplit_once('.').map_or(name, |(_, own)| own).to_owned();
    schema.service(route).or_else(|| schema.services().find(|service| own(service.full_name()) == own(route)))
}
