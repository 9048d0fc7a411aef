//! The two clocks of this crate, which tests can replace and stop.

use std::time::Duration;

use jiff::Timestamp;

/// Tells the time of day and a steady time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Runtime {
        base: Timestamp,
        begun: tokio::time::Instant,
    },
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Clocks that begin at `base` and follow tokio's clock: they stop under paused time.
    pub fn runtime(base: Timestamp) -> Self {
        Self(Source::Runtime {
            base,
            begun: tokio::time::Instant::now(),
        })
    }

    /// The time of day: for deadlines that GitLab also enforces, and for people.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Runtime { base, begun } => *base + begun.elapsed(),
        }
    }

    /// A time that never jumps and continues while the host is suspended (`CLOCK_BOOTTIME`): for
    /// leases and for measuring silence.
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Source::System => boottime(),
            Source::Runtime { begun, .. } => begun.elapsed(),
        }
    }
}

fn boottime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtime_holds_the_clock() {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.steady(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.steady(), Duration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
    }

    #[test]
    fn the_system_clock_goes_forward() {
        let clock = Clock::system();
        assert!(clock.steady() > Duration::ZERO);
        assert!(clock.now() > Timestamp::UNIX_EPOCH);
    }
}
