//! Durations for people.

use std::time::Duration;

/// A readable duration: `850 ms`, `12.3 s`, `2 min 5 s`.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(rough(Duration::from_millis(850)), "850 ms");
        assert_eq!(rough(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(rough(Duration::from_secs(125)), "2 min 5 s");
    }
}
