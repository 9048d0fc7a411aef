//! Waiting: every wait is a poll of a condition with a bound, and says what it saw.

use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// What one look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    There(T),
    /// It does not hold yet; this is what there is instead.
    NotYet(String),
}

/// Looks at a condition until it holds, for `bound` at most.
///
/// A failing look counts as "not yet": the last one is what the error tells.
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
    async fn a_wait_ends_with_what_was_seen() {
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
