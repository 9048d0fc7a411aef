//! Waiting: every wait polls a condition with a time limit, and reports the last observation.

use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How often a condition is polled.
const EVERY: Duration = Duration::from_millis(200);

/// The result of polling a condition once.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    There(T),
    /// It does not hold yet; this is the observation.
    NotYet(String),
}

/// Polls a condition until it holds, for `bound` at most.
///
/// An error while polling counts as "not yet"; the final error reports the last one.
pub async fn until<T, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Look<T>>>,
{
    let begin = Instant::now();
    loop {
        let left = bound.saturating_sub(begin.elapsed());
        let seen = match tokio::time::timeout(left.max(EVERY), look()).await {
            Ok(Ok(Look::There(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(seen))) => seen,
            Ok(Err(error)) => crate::error::chain(&error),
            Err(_) => "the look itself did not come back".to_owned(),
        };
        if begin.elapsed() >= bound {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                after: bound,
                seen,
            });
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failed_wait_reports_the_last_observation() {
        let mut looks = 0;
        let error = until::<(), _>("the ghost appears", Duration::from_millis(500), || {
            looks += 1;
            let seen = format!("look {looks}: nobody");
            async move { Ok(Look::NotYet(seen)) }
        })
        .await
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the ghost appears: not after 500 ms")
        );
        assert!(error.to_string().contains("nobody"));
    }
}
