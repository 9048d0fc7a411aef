//! Reads any bytes as a job from GitLab: an error, but no panic, and no token in what is logged.

use onspot_gitlab::job::AssignedJob;

/// One input.
pub fn run(data: &[u8]) {
    let Ok(raw) = serde_json::from_slice(data) else {
        return;
    };
    if let Ok(job) = AssignedJob::parse(raw) {
        let token = job.job.token.expose().to_owned();
        let shown = format!("{job:?}");
        // A short one may be part of anything.
        let is_only_a_token = token.len() > 16 && data_has_once(data, token.as_bytes());
        assert!(!is_only_a_token || !shown.contains(&token), "{shown}");
    }
}

fn data_has_once(data: &[u8], text: &[u8]) -> bool {
    data.windows(text.len())
        .filter(|part| *part == text)
        .count()
        == 1
}
