//! A mock GitLab that keeps one job's trace, with GitLab's own rules for pieces.

use parking_lot::Mutex;
use std::sync::Arc;

use onspot_gitlab::{Client, ClientOptions};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// The job as GitLab stores it.
#[derive(Debug, Default)]
pub(crate) struct Job {
    /// The trace.
    pub(crate) trace: Vec<u8>,
    /// The header `Job-Status`, if any.
    pub(crate) status: Option<&'static str>,
    /// Statuses to answer with first; `true` if the request is processed all the same.
    pub(crate) faults: Vec<(u16, bool)>,
    /// Answers everything with 403, as for a job that is over.
    pub(crate) over: bool,
    /// How many pieces arrived.
    pub(crate) pieces: usize,
    /// The bodies of the updates that arrived.
    pub(crate) updates: Vec<serde_json::Value>,
    /// Statuses to answer updates with, before 200.
    pub(crate) update_statuses: Vec<u16>,
    /// Bytes in the largest piece that arrived.
    pub(crate) largest_piece: usize,
}

/// The server and its one job, number 7.
pub(crate) struct GitLab {
    pub(crate) server: MockServer,
    pub(crate) job: Arc<Mutex<Job>>,
}

struct Trace(Arc<Mutex<Job>>);

impl Respond for Trace {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut job = self.0.lock();
        job.pieces += 1;
        job.largest_piece = job.largest_piece.max(request.body.len());
        let fault = (!job.faults.is_empty()).then(|| job.faults.remove(0));
        if let Some((status, false)) = fault {
            return ResponseTemplate::new(status);
        }
        let answer = append(&mut job, request);
        match fault {
            Some((status, true)) => ResponseTemplate::new(status),
            _ => answer,
        }
    }
}

/// GitLab's rule: a piece must begin where the trace ends.
fn append(job: &mut Job, request: &Request) -> ResponseTemplate {
    let with_status = |answer: ResponseTemplate, status: Option<&str>| match status {
        Some(status) => answer.insert_header("Job-Status", status),
        None => answer,
    };
    if job.over {
        return with_status(ResponseTemplate::new(403), job.status);
    }
    let range = request.headers["content-range"].to_str().unwrap();
    let start: usize = range.split('-').next().unwrap().parse().unwrap();
    if start == job.trace.len() {
        job.trace.extend_from_slice(&request.body);
    }
    let status = if start + request.body.len() == job.trace.len() {
        202
    } else {
        416
    };
    let answer =
        ResponseTemplate::new(status).insert_header("Range", format!("0-{}", job.trace.len()));
    with_status(answer, job.status)
}

struct Update(Arc<Mutex<Job>>);

impl Respond for Update {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut job = self.0.lock();
        job.updates.push(request.body_json().unwrap());
        let statuses = &mut job.update_statuses;
        let status = if statuses.is_empty() {
            200
        } else {
            statuses.remove(0)
        };
        let answer = ResponseTemplate::new(status);
        match job.status {
            Some(status) => answer.insert_header("Job-Status", status),
            None => answer,
        }
    }
}

impl GitLab {
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        let job = Arc::new(Mutex::new(Job::default()));
        Mock::given(method("PATCH"))
            .and(path("/api/v4/jobs/7/trace"))
            .respond_with(Trace(Arc::clone(&job)))
            .mount(&server)
            .await;
        Mock::given(method("PUT"))
            .and(path("/api/v4/jobs/7"))
            .respond_with(Update(Arc::clone(&job)))
            .mount(&server)
            .await;
        Self { server, job }
    }

    pub(crate) fn client(&self) -> Client {
        let options = ClientOptions {
            attempts: 3,
            ..ClientOptions::default()
        };
        Client::with_options(&self.server.uri().parse().unwrap(), options).unwrap()
    }

    /// The trace as text.
    pub(crate) fn trace(&self) -> String {
        String::from_utf8(self.job.lock().trace.clone()).unwrap()
    }

    /// Changes the stored job.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Job)) {
        change(&mut self.job.lock());
    }
}
