//! Jobs that eat all memory.

use std::process::Command;

use onspot_executor::Outcome;

use crate::support::{Bench, IMAGE, job};

/// Whatever reads a line without end keeps all of it.
const EATER: &str = "tail /dev/zero";

#[tokio::test]
async fn a_job_that_runs_out_of_memory_is_told_so_and_the_next_one_runs() {
    let bench = Bench::with("memory", "http://127.0.0.1:9", |settings| {
        settings.job.memory = Some("32m".into());
        // Where there is swap, the job would go on there.
        settings.job.memory_swap = Some("32m".into());
    })
    .await;
    let ended = bench.run(job(&[EATER, "echo never"])).await;
    let Outcome::Failed { exit_code, .. } = ended.outcome else {
        panic!("{}", ended.trace);
    };
    assert_eq!(exit_code, Some(137), "{}", ended.trace);
    // The engine does not always hear of it when the container ends at once.
    let told = "ran out of memory (it had 32 MiB)";
    assert!(ended.trace.contains(told), "{}", ended.trace);
    assert!(!ended.trace.contains("\nnever\n"), "{}", ended.trace);

    // A shell that goes on, for longer than the engine takes to hear of it, ends with an exit code
    // of its own. Not every engine hears of it: some kernels do not tell with cgroup v1.
    let ended = bench
        .run(job(&["tail /dev/zero || { sleep 2; exit 3; }"]))
        .await;
    assert!(ended.trace.contains("exit code 3"), "{}", ended.trace);
    let is_told = ended.trace.contains(told);
    assert!(is_told || !engine_hears_of_it(), "{}", ended.trace);

    let next = bench.run(job(&["echo fine"])).await;
    assert_eq!(next.outcome, Outcome::Success, "{}", next.trace);
    assert!(!next.trace.contains("out of memory"), "{}", next.trace);
    bench.finish().await;
}

/// Whether the engine says of a container of its own that it ran out of memory.
fn engine_hears_of_it() -> bool {
    let name = format!("onspot-test-memory-{}", std::process::id());
    let docker = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        command
            .args(arguments)
            .output()
            .expect("the docker command")
    };
    let eater = "tail /dev/zero || sleep 2";
    let limits = ["--memory", "32m", "--memory-swap", "32m"];
    let run = [
        &["run", "--name", &name],
        &limits[..],
        &[IMAGE, "sh", "-c", eater],
    ]
    .concat();
    docker(&run);
    let said = docker(&["inspect", "--format", "{{.State.OOMKilled}}", &name]);
    docker(&["rm", "--force", &name]);
    said.stdout.starts_with(b"true")
}

#[tokio::test]
async fn jobs_share_the_memory_of_a_worker_where_nothing_is_configured() {
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
