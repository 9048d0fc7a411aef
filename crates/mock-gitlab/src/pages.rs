//! HTML pages: the pipelines, and a job's trace.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;

use crate::ansi::{escaped, to_html};
use crate::ids::{JobId, PipelineId};
use crate::model::{Job, Pipeline, ProjectState};
use crate::server::Server;
use crate::state::State;
use crate::status::{Member, Status, composite};
use crate::views;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The pages' routes. Those under a project's path lead here, too.
pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/", get(overview))
        .route("/-/health", get(|| async { "GitLab OK" }))
        .route("/-/pipelines/{id}", get(pipeline))
        .route("/-/jobs/{id}", get(job))
        .route("/-/jobs/{id}/raw", get(raw))
}

/// `/`: all pipelines, newest first.
async fn overview(Shared(server): Shared<Arc<Server>>) -> Html<String> {
    let body = server.read(|state| {
        let mut body = String::from("<h1>Pipelines</h1>\n");
        if state.pipelines.is_empty() {
            body.push_str("<p class=empty>No pipeline yet: push a project.</p>\n");
        } else {
            table(state, &mut body, state.pipelines.values().rev());
        }
        runners(state, &mut body);
        body
    });
    let busy = server.read(|state| state.pipelines.values().any(|p| !p.status.is_over()));
    page("Pipelines", &body, if busy { 1 } else { 3 })
}

fn table<'a>(state: &State, body: &mut String, rows: impl Iterator<Item = &'a Pipeline>) {
    body.push_str(
        "<table><thead><tr><th>Status<th>Pipeline<th>Commit<th>Stages<th>Time</tr></thead>\n",
    );
    for pipeline in rows {
        row(state, body, pipeline);
    }
    body.push_str("</table>\n");
}

fn row(state: &State, body: &mut String, pipeline: &Pipeline) {
    let id = pipeline.id;
    let path = state
        .projects
        .get(&pipeline.project)
        .map(ProjectState::full_path);
    // Writing to a string does not fail; the same below.
    let _ = write!(
        body,
        "<tr><td>{}<td><a href=\"/-/pipelines/{id}\">#{id}</a> {}<td><code>{}</code> {} \
         <small>{}</small><td class=stages>",
        badge(pipeline.status),
        escaped(&path.unwrap_or_default()),
        escaped(pipeline.commit.sha.get(..8).unwrap_or_default()),
        escaped(&pipeline.git_ref),
        escaped(&pipeline.commit.title),
    );
    for (stage, jobs) in stages(state, pipeline) {
        let _ = write!(body, "<span class=stage><b>{}</b>", escaped(stage));
        for job in jobs {
            let _ = write!(
                body,
                "<a href=\"/-/jobs/{}\" class=\"job {}\">{}</a>",
                job.id,
                job.status,
                escaped(&job.spec.name),
            );
        }
        body.push_str("</span>");
    }
    if let Some(error) = &pipeline.yaml_error {
        let _ = write!(body, "<pre class=error>{}</pre>", escaped(error));
    }
    let _ = writeln!(
        body,
        "<td>{}</tr>",
        took(pipeline.started_at, pipeline.finished_at)
    );
}

/// The stages that have jobs, in order.
fn stages<'a>(state: &'a State, pipeline: &'a Pipeline) -> Vec<(&'a str, Vec<&'a Job>)> {
    let jobs = state.latest_jobs(pipeline.id);
    let of = |stage: &str| -> Vec<&'a Job> {
        jobs.iter()
            .copied()
            .filter(|job| job.spec.stage == stage)
            .collect()
    };
    pipeline
        .stages
        .iter()
        .map(|stage| (stage.as_str(), of(stage)))
        .filter(|(_, jobs)| !jobs.is_empty())
        .collect()
}

fn runners(state: &State, body: &mut String) {
    body.push_str("<h2>Runners</h2>\n<ul class=runners>\n");
    for runner in state.runners.values() {
        let tags: Vec<&str> = runner.tags.iter().map(String::as_str).collect();
        let seen = runner
            .managers
            .values()
            .map(|manager| manager.contacted_at)
            .max();
        let seen = seen.map_or_else(|| "never seen".to_owned(), |at| format!("seen {}", ago(at)));
        let _ = writeln!(
            body,
            "<li>#{} {} <small>{} · {seen}</small></li>",
            runner.id,
            escaped(&runner.description),
            escaped(&tags.join(", ")),
        );
    }
    body.push_str("</ul>\n");
    if !state.violations.is_empty() {
        body.push_str("<h2>Violations of the protocol</h2>\n<ul class=error>\n");
        for violation in &state.violations {
            let _ = writeln!(body, "<li>{}</li>", escaped(&violation.to_string()));
        }
        body.push_str("</ul>\n");
    }
}

/// `/-/pipelines/:id`: one pipeline, with its jobs in a table.
async fn pipeline(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<PipelineId>,
) -> Result<Html<String>, StatusCode> {
    server.read(|state| {
        let pipeline = state.pipelines.get(&id).ok_or(StatusCode::NOT_FOUND)?;
        let mut body = format!("<h1>Pipeline #{id} {}</h1>\n", badge(pipeline.status));
        table(state, &mut body, std::iter::once(pipeline));
        body.push_str(
            "<table><thead><tr><th>Status<th>Job<th>Stage<th>Runs on<th>Waited<th>Ran</tr></thead>\n",
        );
        for (stage, jobs) in stages(state, pipeline) {
            let members: Vec<Member> = jobs
                .iter()
                .map(|job| Member { status: job.status, allow_failure: job.failure_is_allowed() })
                .collect();
            for job in jobs {
                let _ = writeln!(
                    body,
                    "<tr><td>{}<td><a href=\"/-/jobs/{}\">{}</a><td>{} <small>{}</small>\
                     <td>{}<td>{}<td>{}</tr>",
                    badge(job.status),
                    job.id,
                    escaped(&job.spec.name),
                    escaped(stage),
                    composite(&members),
                    escaped(job.worker.as_deref().unwrap_or_default()),
                    took(job.queued_at, job.started_at),
                    took(job.started_at, job.finished_at),
                );
            }
        }
        body.push_str("</table>\n");
        let every = u32::from(!pipeline.status.is_over());
        Ok(page(&format!("Pipeline #{id}"), &body, every))
    })
}

/// `/-/jobs/:id`: one job and its trace.
async fn job(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
) -> Result<Html<String>, StatusCode> {
    let job = server
        .read(|state| state.jobs.get(&id).cloned())
        .ok_or(StatusCode::NOT_FOUND)?;
    let view = views::job(&job);
    let name = escaped(&view.name);
    let fact = |before: &str, text: Option<String>| {
        text.map_or_else(String::new, |text| format!(" · {before}{}", escaped(&text)))
    };
    let mut body = format!(
        "<h1>{name} {}</h1>\n<p class=facts>job {id} · stage {} · \
         <a href=\"/-/pipelines/{pipeline}\">pipeline #{pipeline}</a>{}{}{} · waited {} · ran {} · \
         <a href=\"/-/jobs/{id}/raw\">raw</a></p>\n",
        badge(view.status),
        escaped(&view.stage),
        fact("", view.failure_reason),
        fact("exit code ", view.exit_code.map(|code| code.to_string())),
        fact("on ", view.worker),
        took(view.queued_at, view.started_at),
        took(view.started_at, view.finished_at),
        pipeline = view.pipeline,
    );
    if job.trace.is_empty() {
        body.push_str("<p class=empty>Nothing in the trace yet.</p>\n");
    } else {
        let trace = to_html(&String::from_utf8_lossy(&job.trace));
        let _ = writeln!(body, "<div class=trace>\n{trace}</div>");
    }
    let every = u32::from(!view.status.is_over());
    Ok(page(&format!("{name} · job {id}"), &body, every))
}

/// `/-/jobs/:id/raw`: the unchanged trace.
async fn raw(Shared(server): Shared<Arc<Server>>, Path(id): Path<JobId>) -> Response {
    match server.read(|state| state.jobs.get(&id).map(|job| job.trace.clone())) {
        Some(trace) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], trace).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A whole page, which reloads every so many seconds; 0: never.
fn page(title: &str, body: &str, every: u32) -> Html<String> {
    Html(format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><header><a href=\"/\">mock GitLab</a></header>\n\
         <main data-every={every}>\n{body}</main>\n<script>{SCRIPT}</script></body></html>\n"
    ))
}

fn badge(status: Status) -> String {
    format!("<span class=\"badge {status}\">{status}</span>")
}

/// The time between two moments, or until now.
fn took(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    let Some(from) = from else {
        return "–".to_owned();
    };
    let seconds = to
        .unwrap_or_else(Timestamp::now)
        .duration_since(from)
        .as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn ago(at: Timestamp) -> String {
    format!("{} ago", took(Some(at), None))
}
