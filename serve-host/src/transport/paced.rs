//! A request body that must keep arriving.
//!
//! No timer exists, and no clock is read, until a piece is waited for: a body that came with its head
//! costs nothing here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// How fast a body must arrive.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The whole body, from the first time it was waited for.
    pub whole: Duration,
    /// Between two pieces.
    pub idle: Duration,
    /// When the answer will be of no use any more.
    pub deadline: Option<std::time::Instant>,
}

/// A body that fails if it does not keep its [`Pace`]; without one it may take for ever.
#[derive(Debug)]
pub struct PacedBody<B> {
    inner: B,
    pace: Option<Pace>,
    wait: Option<Wait>,
    moved: bool,
}

/// Why a body failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError<E> {
    /// The deadline passed first.
    #[error("the deadline passed before the whole request body had arrived")]
    Deadline,
    /// It took too long as a whole.
    #[error("the request body did not arrive within {0:?}")]
    TooSlow(Duration),
    /// Nothing arrived for too long.
    #[error("nothing of the request body arrived for {0:?}")]
    Stalled(Duration),
    /// It broke off.
    #[error("the request body broke off")]
    Broken(#[source] E),
}

/// What a body that is waited for waits for at most.
#[derive(Debug)]
struct Wait {
    timer: Pin<Box<Sleep>>,
    whole: Instant,
    idle: Instant,
}

// === impl PacedBody ===

impl<B> PacedBody<B> {
    /// A body that must keep `pace`.
    pub fn new(inner: B, pace: Option<Pace>) -> Self {
        Self { inner, pace, wait: None, moved: false }
    }

    /// From now on the body must also be whole by `deadline`; without a pace it may still take for ever.
    pub(crate) fn must_end_by(&mut self, deadline: Option<std::time::Instant>) {
        self.pace = self.pace.map(|pace| Pace { deadline, ..pace });
    }

    /// Waits a little longer, unless it has been too long.
    fn poll_wait<E>(&mut self, cx: &mut Context<'_>) -> Poll<BodyError<E>> {
        let Some(pace) = self.pace else { return Poll::Pending };
        let deadline = pace.deadline.map(Instant::from_std);
        let moved = std::mem::take(&mut self.moved);
        let wait = match &mut self.wait {
            Some(wait) if !moved => wait,
            wait => {
                let now = Instant::now();
                let whole = wait.as_ref().map_or(now + pace.whole, |wait| wait.whole);
                let idle = now + pace.idle;
                let until = deadline.map_or(whole, |deadline| deadline.min(whole)).min(idle);
                match wait {
                    Some(wait) => {
                        wait.timer.as_mut().reset(until);
                        wait.idle = idle;
                        wait
                    }
                    None => wait.insert(Wait { timer: Box::pin(sleep_until(until)), whole, idle }),
                }
            }
        };
        match wait.timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if deadline.is_some_and(|deadline| deadline <= wait.whole.min(wait.idle)) => {
                Poll::Ready(BodyError::Deadline)
            }
            Poll::Ready(()) if wait.whole <= wait.idle => Poll::Ready(BodyError::TooSlow(pace.whole)),
            Poll::Ready(()) => Poll::Ready(BodyError::Stalled(pace.idle)),
        }
    }
}

impl<B: Body + Unpin> Body for PacedBody<B> {
    type Data = B::Data;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.moved = true;
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)))
            }
            Poll::Pending => self.poll_wait(cx).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;

    use super::*;

    /// A body whose pieces come after these many milliseconds each, and the pace it must keep.
    async fn read(pauses: &'static [u64], deadline: Option<u64>) -> Result<usize, String> {
        let pieces = stream::iter(pauses).then(|pause| async {
            sleep(Duration::from_millis(*pause)).await;
            Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"x")))
        });
        let pace = Pace {
            whole: Duration::from_millis(300),
            idle: Duration::from_millis(100),
            deadline: deadline.map(|ms| (Instant::now() + Duration::from_millis(ms)).into_std()),
        };
        let body = PacedBody::new(Box::pin(StreamBody::new(pieces)), Some(pace));
        body.collect().await.map(|all| all.to_bytes().len()).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_keeps_the_pace_is_read_whole() {
        assert_eq!(read(&[], None).await, Ok(0));
        assert_eq!(read(&[0, 90, 90, 90], None).await, Ok(4));
        assert_eq!(read(&[90, 90], Some(200)).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        assert_eq!(read(&[0, 110], None).await.unwrap_err(), "nothing of the request body arrived for 100ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dribbles_is_given_up() {
        let error = read(&[90, 90, 90, 90], None).await.unwrap_err();
        assert_eq!(error, "the request body did not arrive within 300ms");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_if_it_comes_first() {
        let error = read(&[90, 90], Some(150)).await.unwrap_err();
        assert_eq!(error, "the deadline passed before the whole request body had arrived");
    }
}
