//! Networks whose only way out is a proxy.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use parking_lot::Mutex;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::any;
use onspot_executor::Outcome;
use onspot_gitlab::Variable;
use onspot_gitlab::job::ArtifactSpec;

use crate::support::gitlab::bridge_address;
use crate::support::{Bench, job};

/// The requests to a proxy.
type Asked = Arc<Mutex<Vec<String>>>;

async fn answer(State(asked): State<Asked>, request: Request) -> Response<Body> {
    let line = format!("{} {}", request.method(), request.uri());
    asked.lock().push(line);
    let read = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    assert!(read.is_ok());
    Response::builder()
        .status(StatusCode::CREATED)
        .body(Body::from("{}"))
        .unwrap()
}

#[tokio::test]
async fn transfers_of_the_helper_go_through_the_proxy_of_the_runner_and_of_the_job() {
    let asked = Asked::default();
    let app = Router::new()
        .fallback(any(answer))
        .with_state(Arc::clone(&asked));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = format!("http://{}:{port}", bridge_address());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let of_runner = vec![format!("http_proxy={proxy}")];
    for (name, of_runner, of_job) in [
        ("proxy-runner", of_runner, None),
        ("proxy-job", vec![], Some(("HTTP_PROXY", proxy.as_str()))),
    ] {
        // A host name that only the proxy can resolve.
        let bench = Bench::with(name, "http://gitlab.invalid", |settings| {
            settings.common.runner.environment = of_runner;
        })
        .await;
        let mut payload = job(&["echo result >out.txt"]);
        payload.artifacts = vec![ArtifactSpec {
            paths: vec!["out.txt".into()],
            ..ArtifactSpec::default()
        }];
        let of_job = of_job.map(|(key, value)| Variable::public(key, value));
        payload.variables.extend(of_job);
        let ended = bench.run(payload).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        let asked = std::mem::take(&mut *asked.lock());
        let upload = "POST http://gitlab.invalid/api/v4/jobs/42/artifacts";
        assert!(
            asked.iter().any(|line| line.starts_with(upload)),
            "{name}: {asked:?}"
        );
        bench.finish().await;
    }
    serving.abort();
}
