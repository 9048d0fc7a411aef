//! A job's state and trace, as reported by the runner with its token.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::params::{self, Origin, Params};
use super::problem::Problem;
use crate::ids::JobId;
use crate::record::{Caller, ViolationKind};
use crate::server::Server;
use crate::state::{Appended, Update};

const JOB_STATUS: &str = "job-status";
const INTERVAL: &str = "x-gitlab-trace-update-interval";

/// `PUT /jobs/:id`.
pub(super) async fn update(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
    origin: Origin,
    params: Params,
) -> Result<Response, Problem> {
    authenticate(&server, id, &params::token(&params, &headers, "job-token"))?;
    let output = |name: &str| {
        params
            .get("output")
            .and_then(|output| output.get(name))
            .cloned()
    };
    let update = Update {
        state: params.text("state").unwrap_or_default(),
        failure_reason: params.text("failure_reason"),
        exit_code: params.parsed("exit_code"),
        checksum: output("checksum")
            .and_then(|text| text.as_str().map(str::to_owned))
            .or_else(|| params.text("checksum"))
            .filter(|text| !text.is_empty()),
        bytesize: output("bytesize").and_then(|size| size.as_u64()),
    };
    let caller = origin.caller(&params);
    let answer = server.change(|state| state.report(id, &update, &caller, Timestamp::now()));
    let job_status = job_status(&server, id);
    let status = StatusCode::from_u16(answer).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == StatusCode::FORBIDDEN {
        return Err(not_running(&job_status));
    }
    // 202 asks to come back soon: GitLab begins with one second.
    let interval = if answer == 202 {
        1
    } else {
        server.options.trace_interval.as_secs()
    };
    let headers = [(JOB_STATUS, job_status), (INTERVAL, interval.to_string())];
    Ok((status, headers, Json(answer.to_string())).into_response())
}

/// `PATCH /jobs/:id/trace`.
pub(super) async fn append_trace(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
    origin: Origin,
    body: Bytes,
) -> Result<Response, Problem> {
    authenticate(
        &server,
        id,
        &params::token(&Params::default(), &headers, "job-token"),
    )?;
    let caller = origin.caller(&Params::default());
    let range = headers
        .get("content-range")
        .and_then(|value| value.to_str().ok());
    let Some(start) = range.and_then(|range| range.split('-').next()?.trim().parse::<u64>().ok())
    else {
        return Err(no_range(&server, id, &caller));
    };
    if !range.is_some_and(|range| end_fits(range, start, body.len())) {
        // GitLab ignores the range's end; here a wrong one is a violation.
        let detail = format!("Content-Range {range:?} for {} bytes", body.len());
        malformed(&server, id, &caller, detail);
    }
    let limit = server.options.trace_limit;
    let appended = server
        .change(|state| state.append_trace(id, start, &body, limit, &caller, Timestamp::now()));
    let job_status = job_status(&server, id);
    match appended {
        Appended::Refused => Err(not_running(&job_status)),
        Appended::OutOfRange(size) => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            Err(Problem::new(status, "416 Range Not Satisfiable")
                .header("range", format!("0-{size}")))
        }
        Appended::Stored(size) => {
            let headers = [
                (JOB_STATUS, job_status),
                ("range", format!("0-{size}")),
                (
                    INTERVAL,
                    server.options.trace_interval.as_secs().to_string(),
                ),
            ];
            Ok((StatusCode::ACCEPTED, headers, Json("202")).into_response())
        }
    }
}

/// Is the end of `start-end` that of the body? Runners send the last byte's offset; one that sends
/// an empty body can't, and old runners sent the offset after it.
fn end_fits(range: &str, start: u64, length: usize) -> bool {
    let end: Option<u64> = range
        .split('-')
        .nth(1)
        .and_then(|end| end.trim().parse().ok());
    let after = start + length as u64;
    length == 0 || end.is_some_and(|end| end == after || end + 1 == after)
}

fn no_range(server: &Server, id: JobId, caller: &Caller) -> Problem {
    malformed(server, id, caller, "no Content-Range".to_owned());
    Problem::bad_request("400 Missing header Content-Range")
}

fn malformed(server: &Server, id: JobId, caller: &Caller, detail: String) {
    server.change(|state| {
        state.violation(
            id,
            ViolationKind::Malformed,
            detail,
            Some(caller),
            Timestamp::now(),
        );
    });
}

/// 403 if there is no such job or the token is wrong: GitLab does not say which.
fn authenticate(server: &Server, id: JobId, token: &str) -> Result<(), Problem> {
    let good = server.read(|state| state.jobs.get(&id).is_some_and(|job| job.token == token));
    good.then_some(()).ok_or_else(|| Problem::forbidden(""))
}

fn job_status(server: &Server, id: JobId) -> String {
    server
        .read(|state| state.jobs.get(&id).map(|job| job.status.to_string()))
        .unwrap_or_default()
}

/// 403 with the job's state.
pub(super) fn not_running(job_status: &str) -> Problem {
    Problem::forbidden("Job is not running").header(JOB_STATUS, job_status)
}
