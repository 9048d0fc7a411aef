//! Jobs that use up all memory.

use onspot_executor::Outcome;

use crate::support::{Bench, job};

/// A program that reads an endless line keeps all of it in memory.
const EATER: &str = "tail /dev/zero";

#[tokio::test]
async fn running_out_of_memory_is_reported_and_the_next_job_runs() {
    let bench = Bench::with("memory", "http://127.0.0.1:9", |settings| {
        settings.docker.job.memory = "32m".parse().ok();
        // With swap, the job would continue there.
        settings.docker.job.memory_swap = "32m".parse().ok();
    })
    .await;
    let ended = bench.run(job(&[EATER, "echo never"])).await;
    let Outcome::Failed { exit_code, .. } = ended.outcome else {
        panic!("{}", ended.trace);
    };
    assert_eq!(exit_code, Some(137), "{}", ended.trace);
    // The engine does not always notice if the container ends at once.
    let told = "ran out of memory (it had 32 MiB)";
    assert!(ended.trace.contains(told), "{}", ended.trace);
    assert!(!ended.trace.contains("\nnever\n"), "{}", ended.trace);

    // The kernel kills a child, and the shell continues and fails with its own exit code. The
    // container itself reports it, once, because not every engine notices.
    for (commands, code) in [
        (&["tail /dev/zero || exit 3"][..], 3),
        (&["tail /dev/zero || true", "echo on", "false"], 1),
        (&["sh -c 'tail /dev/zero; exit 4'"], 4),
    ] {
        let ended = bench.run(job(commands)).await;
        let own =
            matches!(ended.outcome, Outcome::Failed { exit_code: Some(seen), .. } if seen == code);
        assert!(own, "{}", ended.trace);
        assert_eq!(ended.trace.matches(told).count(), 1, "{}", ended.trace);
        assert!(ended.trace.contains("a larger limit"), "{}", ended.trace);
    }

    // If the job succeeds in the end, nothing is reported.
    let ended = bench.run(job(&["tail /dev/zero || true"])).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    assert!(!ended.trace.contains("out of memory"), "{}", ended.trace);

    let next = bench.run(job(&["echo fine"])).await;
    assert_eq!(next.outcome, Outcome::Success, "{}", next.trace);
    assert!(!next.trace.contains("out of memory"), "{}", next.trace);
    bench.finish().await;
}

#[tokio::test]
async fn jobs_share_a_workers_memory_by_default() {
    let limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || \
                 cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    let read = format!(
        "echo \"limit=$({limit})=\"; awk '/MemTotal/ {{ print \"host=\" $2 \"=\" }}' /proc/meminfo"
    );
    let value = |trace: &str, key: &str| -> u64 {
        let found = trace.lines().find_map(|line| {
            let value = line.strip_prefix(key)?.strip_suffix('=')?;
            value.parse().ok()
        });
        found.unwrap_or_else(|| panic!("no {key} in {trace}"))
    };
    let bench = Bench::with("memory-share", "http://127.0.0.1:9", |settings| {
        settings.memory_shared_by = Some(4);
    })
    .await;
    let shared = bench.run(job(&[&read])).await;
    let (limit, host) = (
        value(&shared.trace, "limit="),
        value(&shared.trace, "host="),
    );
    assert!(limit < host * 1024 / 4, "{limit} of {host} KiB");
    assert!(limit > host * 1024 / 9, "{limit} of {host} KiB");
    bench.finish().await;
}
