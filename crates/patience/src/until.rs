//! Waits for a condition instead of for a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often and for how long to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause between two polls.
    pub every: Duration,
    /// How long to keep polling.
    pub limit: Duration,
}

impl Patience {
    /// Polls every `every` for at most `limit`.
    pub const fn new(every: Duration, limit: Duration) -> Self {
        Self { every, limit }
    }

    /// Polls until there is a result; `None` when the limit is reached.
    ///
    /// It polls at least once, and at once.
    ///
    /// # Errors
    /// The first error of `look`, which ends the wait.
    pub async fn until<T, E, F>(&self, mut look: impl FnMut() -> F) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        let end = Instant::now() + self.limit;
        loop {
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if Instant::now() + self.every > end {
                return Ok(None);
            }
            sleep(self.every).await;
        }
    }

    /// Retries a call until it succeeds, fails with an error that is not worth another try, or the
    /// limit is reached.
    ///
    /// # Errors
    /// The last error of `call`.
    pub async fn retry<T, E, F>(
        &self,
        mut worth_it: impl FnMut(&E) -> bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let end = Instant::now() + self.limit;
        loop {
            match call().await {
                Err(error) if worth_it(&error) && Instant::now() + self.every <= end => {
                    sleep(self.every).await;
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_polls_until_there_is_a_result() {
        let mut looks = 0;
        let found: Result<_, ()> = Patience::new(SECOND, 10 * SECOND)
            .until(|| {
                looks += 1;
                let found = (looks == 4).then_some(looks);
                async move { Ok(found) }
            })
            .await;
        assert_eq!(found, Ok(Some(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_at_the_limit() {
        let started = Instant::now();
        let found: Result<Option<()>, ()> = Patience::new(3 * SECOND, 10 * SECOND)
            .until(|| async { Ok(None) })
            .await;
        assert_eq!(found, Ok(None));
        assert_eq!(started.elapsed(), 9 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn it_retries_only_worthwhile_errors() {
        let mut errors = vec!["fatal", "busy", "busy"].into_iter().rev();
        let result: Result<(), _> = Patience::new(SECOND, 10 * SECOND)
            .retry(
                |error| *error == "busy",
                || {
                    let next = errors.next();
                    async move { next.map_or(Ok(()), Err) }
                },
            )
            .await;
        assert_eq!(result, Err("fatal"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_kept_at_the_limit() {
        let started = Instant::now();
        let result: Result<(), _> = Patience::new(SECOND, 3 * SECOND)
            .retry(|_| true, || async { Err("busy") })
            .await;
        assert_eq!(result, Err("busy"));
        assert_eq!(started.elapsed(), 3 * SECOND);
    }
}
