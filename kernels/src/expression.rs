//! CEL expressions over a node's inputs: the only place that knows the `cel` crate.
//!
//! An expression is parsed, checked and prepared once, when its node is bound; a run only evaluates.
//! Inputs become CEL values as follows: null, bool, string, bytes as themselves; i64 is `int`, f64
//! `double`; JSON becomes maps, lists and scalars, its integers `int` (`uint` past the largest i64);
//! a list is a list; metadata is a map from name to the first value under it, text or else bytes.
//! `value.user.name` looks only at that leaf of a JSON input, and `has(value.user)` only at its keys.
//!
//! What bounds an evaluation: the text is at most [`MAX_TEXT`] bytes and its tree [`MAX_DEPTH`] deep,
//! so without loops (`map`, `filter`, `all`, `exists`, `exists_one`) work and memory are at most the
//! number of operators times the size of the inputs. Loops are metered: after [`MAX_STEPS`] steps, at
//! the deadline or when the caller leaves, every loop ends and the evaluation fails. A regular
//! expression takes time linear in its text.

mod check;
mod convert;
mod meter;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cel::common::types::CelBool;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr};
use exec_plan::{BindError, Code, Fault, ReadInputs, RequestContext, Site, Type, TypeSet, Value};

use crate::bounded::Bounded;
use crate::expression::meter::Meter;

/// The longest expression, in bytes.
pub(crate) const MAX_TEXT: usize = 8 << 10;
/// The deepest expression tree: what evaluates within the stack of a worker thread.
pub(crate) const MAX_DEPTH: usize = 96;
/// The most an evaluation may do in loops: visiting an element counts as many steps as the loop's
/// body has operators, keeping a result one step for each 16 bytes of it.
pub(crate) const MAX_STEPS: u64 = 4_000_000;
/// The types an expression can read.
pub(crate) const READABLE: TypeSet = TypeSet::JSON_LIKE.union(TypeSet::of(&[Type::Bytes, Type::Metadata]));
/// The types an expression can result in, unless told to give a particular one.
pub(crate) const RESULT: TypeSet =
    TypeSet::of(&[Type::Null, Type::Bool, Type::I64, Type::F64, Type::String, Type::Bytes, Type::Json]);

/// A checked expression.
pub(crate) struct Expression {
    tree: IdedExpr,
    base: Context<'static, 'static>,
    loops: bool,
}

/// The names an expression may read.
pub(crate) struct Names {
    names: Vec<String>,
    listed: bool,
}

/// The values behind the names during one evaluation.
struct Variables<'a> {
    names: &'a [Cow<'static, str>],
    inputs: &'a (dyn ReadInputs + Sync),
    meter: Option<Meter>,
}

/// The stack of the thread that parses: the parser recurses deeper than the tree it makes.
const PARSER_STACK: usize = 16 << 20;
/// The longest error text passed on, in bytes: CEL's errors can quote whole values.
const MAX_ERROR: usize = 256;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    meter::declare(&mut env);
    Arc::new(env)
});

// === impl Names ===

impl Names {
    /// The names a document lists, or, if it lists none, whatever expressions turn out to read.
    pub(crate) fn new(listed: Option<&[&str]>) -> Self {
        let names = listed.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect();
        Self { names, listed: listed.is_some() }
    }

    /// Adds a name that is read in any case, unless the document lists the names.
    pub(crate) fn imply(&mut self, name: &str) {
        if !self.listed && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// The names, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether an expression may read `name`.
    fn admit(&mut self, name: &str) -> bool {
        self.imply(name);
        self.names.iter().any(|known| known == name)
    }
}

// === impl Expression ===

impl Expression {
    /// Parses and checks `text`, the parameter at `pointer`.
    ///
    /// # Errors
    /// Every problem found, at that parameter.
    pub(crate) fn compile(text: &str, pointer: &str, names: &mut Names) -> Result<Self, Vec<BindError>> {
        let site = || Site::Param(pointer.to_owned());
        if text.len() > MAX_TEXT {
            let message = format!("the expression has {} bytes, more than {MAX_TEXT}", text.len());
            return Err(vec![BindError::new(site(), message)]);
        }
        let prepared = std::thread::scope(|scope| {
            // A thread of its own: room for the parser's recursion, and a panic in it stays there.
            let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
            let parsing = parser.spawn_scoped(scope, || check::prepare(text, names));
            parsing.map(|thread| thread.join().unwrap_or_else(|_| Err(vec![check::Problem::parser_failed()])))
        });
        match prepared {
            Ok(Ok(check::Prepared { tree, loops })) => {
                Ok(Self { tree, base: Context::with_env(Arc::clone(&ENV)), loops })
            }
            Ok(Err(problems)) => Err(problems.into_iter().map(|problem| problem.at(site())).collect()),
            Err(error) => Err(vec![BindError::new(site(), format!("no thread to parse it: {error}"))]),
        }
    }

    /// A rough cost of one evaluation. That of a loop is its inputs' to decide: enough to keep it off
    /// the threads that read requests.
    pub(crate) fn cost(&self) -> Duration {
        const PLAIN: Duration = Duration::from_micros(1);
        const LOOPING: Duration = Duration::from_micros(50);
        if self.loops { LOOPING } else { PLAIN }
    }

    /// The value for these inputs.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if the inputs do not fit the expression; RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED
    /// or CANCELLED if its loops were ended.
    pub(crate) fn evaluate(
        &self,
        names: &[Cow<'static, str>],
        inputs: &(dyn ReadInputs + Sync),
        cx: &RequestContext,
    ) -> Result<Value, Fault> {
        self.resolve(names, inputs, cx, convert::from_cel)
    }

    /// The truth for these inputs.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), and INVALID_ARGUMENT if the value is no bool.
    pub(crate) fn holds(
        &self,
        names: &[Cow<'static, str>],
        inputs: &(dyn ReadInputs + Sync),
        cx: &RequestContext,
    ) -> Result<bool, Fault> {
        self.resolve(names, inputs, cx, |value| {
            value.downcast_ref::<CelBool>().map(|truth| *truth.inner()).ok_or_else(|| {
                let kind = value.get_type().name();
                Fault::new(Code::InvalidArgument, format!("the condition gives {kind}, not bool"))
            })
        })
    }

    fn resolve<T>(
        &self,
        names: &[Cow<'static, str>],
        inputs: &(dyn ReadInputs + Sync),
        cx: &RequestContext,
        finish: impl FnOnce(&dyn Val) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let meter = self.loops.then(|| Meter::start(cx));
        let variables = Variables { names, inputs, meter };
        let mut scope = self.base.new_inner_scope();
        scope.set_variable_resolver(&variables);
        let value = cel::Value::resolve_val(&self.tree, &scope);
        // A loop that was ended looks like one over fewer elements: its result is void.
        if let Some(fault) = variables.meter.as_ref().and_then(Meter::verdict) {
            return Err(fault);
        }
        match value {
            Ok(value) => finish(value.as_ref()),
            Err(error) => Err(fault(&error)),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("loops", &self.loops).finish_non_exhaustive()
    }
}

// === impl Variables ===

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(internal) = name.strip_prefix('@') {
            if let Some(path) = internal.strip_prefix(check::HAS) {
                let (path, key) = path.rsplit_once('.')?;
                return Some(CowVal::owned(CelBool::from(self.has(path, key)?)));
            }
            let meter = self.meter.as_ref().filter(|_| name == meter::VARIABLE)?;
            return Some(CowVal::Borrowed(meter));
        }
        let (root, path) = name.split_once('.').map_or((name, None), |(root, path)| (root, Some(path)));
        match (self.input(root)?, path) {
            (value, None) => convert::to_cel(value).map(CowVal::Owned),
            (Value::Json(json), Some(path)) => leaf(json, path).map(convert::json_to_cel).map(CowVal::Owned),
            (Value::Metadata(metadata), Some(name)) => {
                metadata.first(name).map(|value| CowVal::Owned(convert::metadata_to_cel(value)))
            }
            _ => None,
        }
    }
}

impl Variables<'_> {
    fn input(&self, name: &str) -> Option<&Value> {
        let index = self.names.iter().position(|known| known == name)?;
        self.inputs.get(index)
    }

    /// Whether the map at `path` has `key`; `None` if there is no map.
    fn has(&self, path: &str, key: &str) -> Option<bool> {
        let (root, path) = path.split_once('.').map_or((path, None), |(root, path)| (root, Some(path)));
        match (self.input(root)?, path) {
            (Value::Json(json), path) => {
                let at = path.map_or(Some(&**json), |path| leaf(json, path))?;
                at.as_object().map(|object| object.contains_key(key))
            }
            (Value::Metadata(metadata), None) => Some(metadata.first(key).is_some()),
            _ => None,
        }
    }
}

fn leaf<'j>(json: &'j serde_json::Value, path: &str) -> Option<&'j serde_json::Value> {
    path.split('.').try_fold(json, |at, key| at.as_object()?.get(key))
}

/// The fault for an error of the evaluation, at a bounded length.
#[cold]
fn fault(error: &ExecutionError) -> Fault {
    let mut text = Bounded::new(MAX_ERROR);
    // A text that is full has said enough: writing on fails, which is no concern here.
    let _ = match error {
        ExecutionError::UndeclaredReference(name) if name.starts_with('@') => {
            let path = name.trim_start_matches('@').trim_start_matches(check::HAS);
            write!(text, "CEL: has({path}): there is no such map")
        }
        _ => write!(text, "CEL: {error}"),
    };
    Fault::new(Code::InvalidArgument, text.finish())
}

#[cfg(test)]
mod tests;
