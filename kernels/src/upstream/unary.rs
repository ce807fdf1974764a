//! One unary call as a node makes it: parameters, turn, deadline, exchange. `rpc_unary_call` makes one
//! per run, `rpc_unary_call_batch` many.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{BindError, Code, Fault, Metadata, NodeSpec, RequestContext, Site};
use http::HeaderMap;
use http::uri::PathAndQuery;
use serde::Deserialize;

use crate::upstream::grpc::{self, Call, Reply};
use crate::upstream::headers::{self, PassedOn, Spelling};
use crate::upstream::{Failure, Settings, Target, Upstreams, bounded_by, deadline, params};

/// The parameters of a node that makes unary calls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallParams {
    target: String,
    method: Option<String>,
    #[serde(default)]
    metadata: Vec<String>,
    timeout_ms: Option<u32>,
    max_message_bytes: Option<u32>,
    max_in_flight: Option<u32>,
    max_waiting: Option<u32>,
    max_wait_ms: Option<u32>,
    connect_timeout_ms: Option<u32>,
    /// Of `rpc_unary_call_batch` alone.
    pub(crate) concurrency: Option<u32>,
    /// Of `rpc_unary_call_batch` alone.
    pub(crate) max_items: Option<u32>,
    /// Of `rpc_unary_call_batch` alone.
    pub(crate) on_error: Option<OnError>,
}

/// What a batch does when a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnError {
    /// It fails.
    #[default]
    Fail,
    /// It goes on and reports each outcome.
    Collect,
}

/// Makes unary calls to one target.
#[derive(Debug)]
pub(crate) struct Caller {
    target: Arc<Target>,
    /// `None` if every run names its method.
    method: Option<PathAndQuery>,
    passed_on: PassedOn,
    timeout: Option<Duration>,
    max_wait: Duration,
    max_message: usize,
}

// === impl Caller ===

impl Caller {
    /// Checks the parameters; adds every problem to `errors`, in which case the caller is of no use.
    pub(crate) fn bind(
        params: &CallParams,
        node: &NodeSpec<'_>,
        upstreams: &Upstreams,
        errors: &mut Vec<BindError>,
    ) -> Option<Self> {
        let target = target(&params.target).map_err(|error| errors.push(error)).ok();
        let method = params.method.as_deref().map(method).transpose().unwrap_or_else(|message| {
            errors.push(BindError::new(Site::Param("/method".to_owned()), message));
            None
        });
        let passed_on = params::passed_on(&params.metadata, Spelling::Grpc, errors);
        if params.metadata.is_empty() && node.inputs.is_some_and(|inputs| inputs.contains(&"meta")) {
            let error = BindError::new(Site::Input("meta".to_owned()), "no metadata is passed on");
            errors.push(error.with_help("list the names to pass on in the parameter `metadata`"));
        }
        let timeout = params::TIMEOUT_MS.read_ms(params.timeout_ms, errors);
        let max_wait = params::MAX_WAIT_MS.read_ms(params.max_wait_ms, errors);
        let max_message = params::MAX_MESSAGE_BYTES.read(params.max_message_bytes, errors);
        let settings = Settings {
            max_in_flight: params::MAX_IN_FLIGHT.read(params.max_in_flight, errors),
            max_waiting: params::MAX_WAITING.read(params.max_waiting, errors),
            connect_timeout: params::CONNECT_TIMEOUT_MS.read_ms(params.connect_timeout_ms, errors),
            uri: target?,
        };
        errors.is_empty().then(|| Self {
            target: upstreams.target(settings),
            method,
            passed_on,
            timeout: params.timeout_ms.map(|_| timeout),
            max_wait,
            max_message: max_message as usize,
        })
    }

    /// Whether every run must name its method.
    pub(crate) fn wants_method(&self) -> bool {
        self.method.is_none()
    }

    /// The method of one run: the parameter's, or the one given.
    pub(crate) fn method(&self, given: Option<&str>) -> Result<PathAndQuery, Fault> {
        match &self.method {
            Some(method) => Ok(method.clone()),
            None => method(given.unwrap_or_default())
                .map_err(|message| Fault::new(Code::InvalidArgument, message)),
        }
    }

    /// Makes one call.
    pub(crate) async fn call(
        &self,
        method: &PathAndQuery,
        payload: Bytes,
        meta: Option<&Metadata>,
        cx: &RequestContext,
    ) -> Result<Reply, Fault> {
        let deadline = deadline(cx, self.timeout);
        let mut headers = HeaderMap::new();
        if let Some(meta) = meta.filter(|_| !self.passed_on.is_empty()) {
            self.passed_on
                .copy(meta, &mut headers, Spelling::Grpc)
                .map_err(|error| Fault::new(Code::InvalidArgument, error.to_string()))?;
        }
        headers::set_trace(&mut headers, cx);
        let exchange = async {
            let _slot = self.target.gate().enter(self.max_wait).await?;
            let call = Call { method, payload, headers, deadline, max_message: self.max_message };
            grpc::unary(&self.target, call).await
        };
        bounded_by(deadline, exchange).await.map_err(Failure::into)
    }
}

/// The parameter `target`.
fn target(text: &str) -> Result<http::Uri, BindError> {
    let uri = params::http_uri("target", text)?;
    if !matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("/")) {
        let error = BindError::new(Site::Param("/target".to_owned()), "a target has no path");
        return Err(error.with_help("the path of a call is its `method`"));
    }
    Ok(params::origin(&uri))
}

/// A full method, `/package.Service/Method`.
fn method(text: &str) -> Result<PathAndQuery, String> {
    let valid = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    let parts = text.strip_prefix('/').and_then(|text| text.split_once('/'));
    match (parts, PathAndQuery::try_from(text)) {
        (Some((service, name)), Ok(path)) if valid(service) && valid(name) => Ok(path),
        _ => Err(format!("expected a method as `/package.Service/Method`, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_a_service_and_a_name() {
        assert_eq!(method("/pkg.Svc/Do").unwrap(), "/pkg.Svc/Do");
        for text in
            ["", "/", "pkg.Svc/Do", "/pkg.Svc", "/pkg.Svc/", "//Do", "/a/b/c", "/a/b?c", "/a/b#c", "/a /b"]
        {
            assert!(method(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_target_is_an_origin() {
        assert_eq!(target("http://h:1").unwrap(), "http://h:1/");
        assert_eq!(target("http://h:1/").unwrap(), "http://h:1/");
        assert_eq!(target("http://h:1/x").unwrap_err().message, "a target has no path");
    }
}
