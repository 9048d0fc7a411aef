use jiff::{SignedDuration, Timestamp};
use onspot_ledger::WorkerId;

use super::*;
use crate::schedule::{JobView, RunnerView};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn job(id: u64, place: Place) -> JobView {
    JobView {
        id,
        received_at: NOW - SignedDuration::from_secs(90),
        deadline: Timestamp::MAX,
        attempt: 1,
        place,
    }
}

#[test]
fn a_round_is_seen_and_what_is_gone_falls_to_zero() {
    let metrics = Metrics::new();
    let name = RunnerName::new("docker.m3");
    let runner = RunnerView {
        limit: 4,
        jobs: vec![
            job(1, Place::Waiting),
            job(2, Place::With(WorkerId::of("AROA", "i-1"))),
        ],
        ..RunnerView::new(name.clone())
    };
    let mut view = View {
        concurrent: 10,
        runners: vec![runner],
    };
    metrics.see(&view, NOW);
    metrics.ended(&name, Ending::Success);
    let text = metrics.render();
    for line in [
        "gitlab_runner_concurrent 10\n",
        "gitlab_runner_limit{runner=\"docker.m3\"} 4\n",
        "gitlab_runner_jobs{runner=\"docker.m3\",state=\"waiting\"} 1\n",
        "gitlab_runner_jobs{runner=\"docker.m3\",state=\"running\"} 1\n",
        "onspot_workers{runner=\"docker.m3\",state=\"idle\"} 0\n",
        "onspot_longest_wait_seconds{runner=\"docker.m3\"} 90.0\n",
        "onspot_jobs_ended_total{runner=\"docker.m3\",ending=\"success\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    view.runners[0].jobs.clear();
    metrics.see(&view, NOW);
    let text = metrics.render();
    assert!(text.contains("gitlab_runner_jobs{runner=\"docker.m3\",state=\"waiting\"} 0\n"));
    assert!(text.contains("onspot_longest_wait_seconds{runner=\"docker.m3\"} 0.0\n"));
}

#[tokio::test]
async fn prometheus_reads_them_until_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, Arc::new(Metrics::new()), shutdown.clone()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], OPENMETRICS);
    let text = answer.text().await.unwrap();
    assert!(text.contains("gitlab_runner_concurrent 0\n"), "{text}");
    drop(client);
    shutdown.cancel();
    served.await.unwrap().unwrap();
}
