//! The meter of one evaluation: counts what its loops do, and ends them all once it has run out.
//!
//! The check rewrites every loop's range to `@each(range, weight, @meter)`, whose iteration counts,
//! and what `map` and `filter` keep to `@keep(value, @meter)`. An ended loop looks like one over fewer
//! elements; the evaluation's result is therefore void once there is a verdict.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cel::common::traits::{Iterable, Iterator, Sizer};
use cel::common::types::{CelInt, DYN_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};
use exec_plan::{Cancel, Code, Fault, RequestContext};
use parking_lot::Mutex;

use super::{MAX_STEPS, convert};

/// The name by which the rewritten tree finds the meter.
pub(super) const VARIABLE: &str = "@meter";
/// The function around each loop's range.
pub(super) const EACH: &str = "@each";
/// The function around each element that `map` and `filter` keep.
pub(super) const KEEP: &str = "@keep";

/// Bytes kept per step.
const KEPT_PER_STEP: u64 = 16;

/// Counts one evaluation. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<State>);

#[derive(Debug)]
struct State {
    left: AtomicU64,
    deadline: Option<Instant>,
    cancel: Cancel,
    ended: Mutex<Option<Ended>>,
}

/// Why the loops were ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Cancelled,
    Expired,
    Exhausted,
}

/// A loop's range whose iteration is metered.
#[derive(Debug)]
struct Metered<'v> {
    range: Box<dyn Val + 'v>,
    weight: u64,
    meter: Meter,
}

struct MeteredIter<'b, 'v> {
    items: Box<dyn Iterator<'b, 'v> + 'b>,
    weight: u64,
    meter: &'b Meter,
}

/// Makes the functions of the rewritten tree known.
pub(super) fn declare(env: &mut Env) {
    let declared = env
        .add_overload(EACH, "each", vec![DYN_TYPE, DYN_TYPE, DYN_TYPE], each)
        .and_then(|()| env.add_overload(KEEP, "keep", vec![DYN_TYPE, DYN_TYPE], keep));
    debug_assert!(declared.is_ok(), "nothing else declares names with '@'");
}

// === impl Meter ===

impl Meter {
    pub(super) fn start(cx: &RequestContext) -> Self {
        Self(Arc::new(State {
            left: AtomicU64::new(MAX_STEPS),
            deadline: cx.deadline(),
            cancel: cx.cancel().clone(),
            ended: Mutex::new(None),
        }))
    }

    /// Why the loops were ended, if they were.
    pub(super) fn verdict(&self) -> Option<Fault> {
        let (code, message) = match (*self.0.ended.lock())? {
            Ended::Cancelled => (Code::Cancelled, "the caller left during a CEL loop".to_owned()),
            Ended::Expired => (Code::DeadlineExceeded, "the deadline passed during a CEL loop".to_owned()),
            Ended::Exhausted => {
                let message =
                    format!("the CEL expression takes more than {MAX_STEPS} steps for these inputs");
                (Code::ResourceExhausted, message)
            }
        };
        Some(Fault::new(code, message))
    }

    /// Counts `steps`; `false` once the meter has run out.
    fn count(&self, steps: u64) -> bool {
        let left = self.0.left.load(Ordering::Relaxed);
        let ended = if left < steps {
            Ended::Exhausted
        } else if self.0.cancel.is_cancelled() {
            Ended::Cancelled
        } else if self.0.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            Ended::Expired
        } else {
            // One thread evaluates; the atomic is there because CEL values must be `Sync`.
            self.0.left.store(left - steps, Ordering::Relaxed);
            return true;
        };
        self.0.left.store(0, Ordering::Relaxed);
        self.0.ended.lock().get_or_insert(ended);
        false
    }
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &DYN_TYPE
    }

    fn cel_type() -> &'static Type {
        &DYN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

// === impl Metered ===

impl Val for Metered<'_> {
    fn get_type(&self) -> &Type {
        self.range.get_type()
    }

    fn cel_type() -> &'static Type {
        &DYN_TYPE
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        self.range.as_iterable().map(|_| self as _)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        self.range.as_sizer()
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        let range = self.range.clone_as_boxed();
        Box::new(Metered { range, weight: self.weight, meter: self.meter.clone() })
    }
}

impl<'v> Iterable for Metered<'v> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        let range: Option<&'b (dyn Iterable + 'v)> = self.range.as_iterable();
        let Some(range) = range else { return Box::new(Nothing) };
        let items: Box<dyn Iterator<'b, 'v> + 'b> = range.iter();
        Box::new(MeteredIter { items, weight: self.weight, meter: &self.meter })
    }
}

impl<'b, 'v: 'w, 'w> Iterator<'b, 'w> for MeteredIter<'b, 'v> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        let item = self.items.next()?;
        self.meter.count(self.weight).then_some(item)
    }
}

struct Nothing;

impl<'b, 'v> Iterator<'b, 'v> for Nothing {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        None
    }
}

/// `@each(range, weight, @meter)`: the range, metered.
fn each<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args.into_iter();
    let (Some(range), Some(weight), Some(meter)) = (args.next(), args.next(), args.next()) else {
        return Err(ExecutionError::invalid_argument_count(3, 0));
    };
    let weight = weight.downcast_ref::<CelInt>().and_then(|weight| u64::try_from(*weight.inner()).ok());
    match (weight, meter.downcast_ref::<Meter>()) {
        (Some(weight), Some(meter)) => {
            Ok(CowVal::owned(Metered { range: range.into_owned(), weight, meter: meter.clone() }))
        }
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

/// `@keep(value, @meter)`: the value, counted by its size.
fn keep<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args.into_iter();
    let (Some(value), Some(meter)) = (args.next(), args.next()) else {
        return Err(ExecutionError::invalid_argument_count(2, 0));
    };
    let meter = meter.downcast_ref::<Meter>().ok_or_else(ExecutionError::missing_argument_or_target)?;
    if meter.count(convert::weigh(value.as_ref()) / KEPT_PER_STEP) {
        Ok(value)
    } else {
        // What stands here does not matter: the verdict voids the result.
        Err(ExecutionError::missing_argument_or_target())
    }
}
