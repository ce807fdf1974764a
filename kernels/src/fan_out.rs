//! Working on the items of a list, several at a time, in the order of the list.
//!
//! The first failure ends it: what is under way is dropped, what has not begun never does.

use exec_plan::{Code, Fault, Value};
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Works on every item, `concurrency` of them at a time; the results stand where their items stood.
///
/// # Errors
/// The first fault, with the position of its item in the message.
pub(crate) async fn fan_out<T, W>(
    works: impl ExactSizeIterator<Item = W>,
    concurrency: usize,
) -> Result<Vec<T>, Fault>
where
    W: Future<Output = Result<T, Fault>>,
{
    let mut results: Vec<Option<T>> = Vec::new();
    results.resize_with(works.len(), || None);
    let mut waiting = works.enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < concurrency
            && let Some((i, work)) = waiting.next()
        {
            running.push(numbered(i, work));
        }
        match running.next().await {
            Some((i, Ok(result))) => results[i] = Some(result),
            Some((i, Err(fault))) => return Err(at_item(i, fault)),
            None => return Ok(results.into_iter().flatten().collect()),
        }
    }
}

async fn numbered<W: Future>(i: usize, work: W) -> (usize, W::Output) {
    (i, work.await)
}

/// The items of a list or of a JSON array, at most `max` of them.
///
/// # Errors
/// INVALID_ARGUMENT if it is neither, RESOURCE_EXHAUSTED if there are more.
pub(crate) fn items(list: Option<&Value>, max: usize) -> Result<Vec<Value>, Fault> {
    let too_many = |len: usize| {
        let message = format!("the list has {len} items, {max} are allowed");
        (len > max).then(|| Fault::new(Code::ResourceExhausted, message)).map_or(Ok(()), Err)
    };
    match list {
        Some(Value::List(items)) => too_many(items.len()).map(|()| items.to_vec()),
        Some(Value::Json(json)) if json.is_array() => {
            let items = json.as_array().map(Vec::as_slice).unwrap_or_default();
            too_many(items.len()).map(|()| items.iter().cloned().map(Value::from).collect())
        }
        _ => Err(Fault::new(Code::InvalidArgument, "expected a list or a JSON array")),
    }
}

/// The same fault, saying which item it is about.
pub(crate) fn at_item(index: usize, fault: Fault) -> Fault {
    let message = format!("item {index}: {}", fault.message());
    fault.with_message(message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn results_stand_where_their_items_stood_and_no_more_run_than_may() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let works = (0..20_u32).map(|i| {
            let (running, most) = (&running, &most);
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis((20 - i).into())).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(i)
            }
        });
        assert_eq!(fan_out(works, 4).await.unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_ends_it_and_names_its_item() {
        let begun = AtomicUsize::new(0);
        let works = (0..20_usize).map(|i| {
            let begun = &begun;
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                if i == 2 { Err(Fault::new(Code::NotFound, "no such thing")) } else { Ok(()) }
            }
        });
        let fault = fan_out(works, 4).await.unwrap_err();
        assert_eq!(fault.to_string(), "NOT_FOUND: item 2: no such thing");
        assert!(begun.into_inner() <= 8, "items after the failure began");
    }

    #[test]
    fn both_kinds_of_list_have_items() {
        let json = Value::from(serde_json::json!([1, "a", null]));
        assert_eq!(format!("{:?}", items(Some(&json), 3).unwrap()), r#"[1, "a", null]"#);
        let list = Value::List([Value::Null, Value::Bool(true)].into());
        assert_eq!(items(Some(&list), 2).unwrap().len(), 2);
        assert_eq!(items(Some(&list), 1).unwrap_err().code(), Code::ResourceExhausted);
        let object = Value::from(serde_json::json!({}));
        assert_eq!(items(Some(&object), 1).unwrap_err().code(), Code::InvalidArgument);
    }
}
