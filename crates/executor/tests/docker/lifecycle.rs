//! What exists before, between and after jobs.

use onspot_cache::CacheAccess;
use onspot_executor::{DockerExecutor, Executor, Stop};

use crate::LONG;
use crate::support::{Bench, job};

/// As many as a large runner has.
const SLOTS: usize = 12;

/// Like a worker: all slots are warmed, and the stop comes at any moment.
#[tokio::test]
async fn a_stop_right_after_the_start_leaves_nothing() {
    let begun: [fn(&Bench) -> bool; 2] = [|_| true, |bench| bench.containers("helper") > 0];
    for (step, begun) in begun.into_iter().enumerate() {
        let bench = Bench::new(&format!("start-stop-{step}")).await;
        let warming: Vec<_> = (0..SLOTS)
            .map(|slot| {
                let executor = bench.executor.clone();
                tokio::spawn(async move { executor.warm(slot).await })
            })
            .collect();
        bench.until(begun).await;
        bench.executor.close().await;
        assert_eq!(bench.containers("helper"), 0, "step {step}");
        for warming in warming {
            let _ = warming.await.unwrap();
        }
        assert_eq!(bench.containers("helper"), 0, "step {step}, later");
        // Requests after the end create nothing.
        let _ = bench.executor.warm(0).await;
        assert_eq!(bench.containers("helper"), 0, "step {step}, too late");
    }
}

/// A caller may be gone before its helper is ready; the helper is removed all the same.
#[tokio::test]
async fn a_helper_without_a_caller_is_removed() {
    let bench = Bench::new("unwaited").await;
    bench.executor.prepare().await.unwrap();
    let executor = bench.executor.clone();
    let waiting = tokio::spawn(async move { executor.warm(0).await });
    bench.until(|bench| bench.containers("helper") > 0).await;
    waiting.abort();
    let _ = waiting.await;
    bench.executor.close().await;
    assert_eq!(bench.containers("helper"), 0);
}

#[tokio::test]
async fn one_helper_waits_for_any_number_of_slots() {
    let bench = Bench::new("one-warm").await;
    for slot in 0..SLOTS {
        bench.executor.warm(slot).await.unwrap();
    }
    assert_eq!(bench.containers("helper"), 1);
    bench.finish().await;
}

#[tokio::test]
async fn the_next_start_removes_what_a_killed_one_left() {
    let bench = Bench::new("killed").await;
    let mut running = bench.start(job(&["echo begun", "sleep 1000"]), CacheAccess::None, LONG);
    running.until_trace_holds("\nbegun\n").await;
    bench.executor.warm(0).await.unwrap();
    let all = |bench: &Bench| [bench.container_ids("job"), bench.container_ids("helper")].concat();
    let left = all(&bench);
    let next = DockerExecutor::connect(bench.settings.clone()).await;
    let swept = next.unwrap().sweep().await.unwrap();
    assert_eq!(swept.job_containers, 1);
    assert!(swept.helpers >= 1);
    // The first executor only plays dead: it may start another helper for its broken job.
    assert!(all(&bench).iter().all(|id| !left.contains(id)));
    running.stop.send_replace(Some(Stop::Abort));
    running.end(true).await;
    bench.finish().await;
}
