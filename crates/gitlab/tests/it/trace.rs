//! Traces against a server that keeps them as GitLab does.

use std::time::Duration;

use crate::support::GitLab;
use onspot_gitlab::{
    Error, JobId, JobToken, Remote, TraceOptions, TracePosition, TraceSession, TraceStart,
    TraceWriter,
};

const JOB: JobId = JobId(7);

/// Options without waits.
fn quick() -> TraceOptions {
    TraceOptions {
        interval: Duration::from_millis(5),
        silence: Duration::from_hours(1),
        patience: Duration::from_secs(5),
        ..TraceOptions::default()
    }
}

/// Bounds a wait that should be short.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .unwrap()
}

fn token() -> JobToken {
    JobToken::new("job-token-of-7")
}

async fn open(gitlab: &GitLab, start: TraceStart) -> (TraceWriter, TraceSession) {
    open_with(gitlab, start, quick()).await
}

async fn open_with(
    gitlab: &GitLab,
    start: TraceStart,
    options: TraceOptions,
) -> (TraceWriter, TraceSession) {
    let masks = vec!["hunter2".to_owned()];
    TraceSession::open(gitlab.client(), JOB, token(), masks, start, options)
        .await
        .unwrap()
}

const FRESH: TraceStart = TraceStart::At(TracePosition::START);
const END: TraceStart = TraceStart::End { last_known: None };

fn at_end_of(text: &str) -> TracePosition {
    TracePosition {
        offset: text.len() as u64,
        crc32: Some(crc32fast::hash(text.as_bytes())),
    }
}

#[tokio::test]
async fn output_arrives_masked_and_whole() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    writer.line("password hunter2, token job-token-of-7");
    writer.write(b"cut: hun");
    let position = session.flush().await.unwrap();
    assert_eq!(gitlab.trace(), "password [MASKED], token [MASKED]\ncut: ");
    assert_eq!(position, at_end_of(&gitlab.trace()));

    writer.write(b"ter2");
    let end = session.close().await.unwrap();
    let whole = "password [MASKED], token [MASKED]\ncut: [MASKED]";
    assert_eq!(gitlab.trace(), whole);
    assert_eq!(end, at_end_of(whole));

    writer.line("after the end");
    assert_eq!(gitlab.trace(), whole);
}

#[tokio::test]
async fn without_a_flush_output_arrives_too() {
    let gitlab = GitLab::start().await;
    let (writer, _session) = open(&gitlab, FRESH).await;
    writer.write(b"one ");
    writer.write(b"two");
    soon(async {
        while gitlab.trace() != "one two" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn much_output_goes_in_pieces_of_a_mebibyte() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    let line = vec![b'x'; 1 << 16];
    for _ in 0..40 {
        writer.write(&line);
    }
    let end = session.close().await.unwrap();
    assert_eq!(end.offset, 40 << 16);
    assert_eq!(gitlab.trace().len(), 40 << 16);
    let job = gitlab.job.lock();
    assert!(job.largest_piece <= 1 << 20, "{}", job.largest_piece);
}

#[tokio::test]
async fn another_session_continues_at_the_end() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    writer.line("waiting for capacity");
    let first_end = session.close().await.unwrap();

    // With the position the checksum remains known.
    let start = TraceStart::End {
        last_known: Some(first_end),
    };
    let (writer, session) = open(&gitlab, start).await;
    writer.line("running");
    let second_end = session.close().await.unwrap();
    assert_eq!(gitlab.trace(), "waiting for capacity\nrunning\n");
    assert_eq!(second_end, at_end_of(&gitlab.trace()));

    // Without it, or with an outdated one, it does not.
    for last_known in [None, Some(first_end)] {
        let (writer, session) = open(&gitlab, TraceStart::End { last_known }).await;
        writer.line("more");
        let end = session.close().await.unwrap();
        assert_eq!(
            end,
            TracePosition {
                offset: gitlab.trace().len() as u64,
                crc32: None
            }
        );
    }
    assert!(gitlab.trace().ends_with("running\nmore\nmore\n"));
}

#[tokio::test]
async fn an_empty_trace_begins_at_its_beginning() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, END).await;
    writer.write(b"hello");
    assert_eq!(session.close().await.unwrap(), at_end_of("hello"));
}

#[tokio::test]
async fn failures_lose_and_repeat_nothing() {
    let gitlab = GitLab::start().await;
    // Two pieces get lost; for the third only the answer does.
    gitlab.change(|job| job.faults = vec![(502, false), (500, false), (504, true)]);
    let (writer, session) = open(&gitlab, FRESH).await;
    writer.write(b"one ");
    tokio::task::yield_now().await;
    writer.write(b"two");
    assert_eq!(session.close().await.unwrap(), at_end_of("one two"));
    assert_eq!(gitlab.trace(), "one two");
}

#[tokio::test]
async fn bytes_that_gitlab_loses_are_sent_again() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    writer.write(b"one two ");
    session.flush().await.unwrap();
    gitlab.change(|job| job.trace.truncate(4));
    writer.write(b"three");
    session.close().await.unwrap();
    assert_eq!(gitlab.trace(), "one two three");
}

#[tokio::test]
async fn a_session_stops_when_somebody_else_wrote() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    writer.write(b"old worker ");
    session.flush().await.unwrap();
    gitlab.change(|job| job.trace.extend(b"new worker, with much to say"));
    writer.write(b"still me");
    match session.flush().await {
        Err(Error::TraceOver {
            job: JOB,
            remote: Remote::Superseded,
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(*session.remote().borrow(), Remote::Superseded);
    let pieces = gitlab.job.lock().pieces;
    writer.write(b"!");
    assert!(session.close().await.is_err());
    assert_eq!(gitlab.job.lock().pieces, pieces, "it is silent for good");
    assert_eq!(gitlab.trace(), "old worker new worker, with much to say");
}

#[tokio::test]
async fn a_cancel_is_noticed_and_the_trace_continues() {
    let gitlab = GitLab::start().await;
    let (writer, session) = open(&gitlab, FRESH).await;
    let mut remote = session.remote();
    gitlab.change(|job| job.status = Some("canceling"));
    writer.write(b"working ");
    soon(remote.wait_for(|remote| *remote == Remote::Canceling))
        .await
        .unwrap();
    writer.write(b"after_script");
    session.close().await.unwrap();
    assert_eq!(gitlab.trace(), "working after_script");
}

#[tokio::test]
async fn a_keep_alive_is_sent_and_reveals_a_cancel() {
    let gitlab = GitLab::start().await;
    gitlab.change(|job| job.status = Some("canceled"));
    let options = TraceOptions {
        silence: Duration::from_millis(5),
        ..quick()
    };
    let (_writer, session) = open_with(&gitlab, FRESH, options).await;
    let mut remote = session.remote();
    soon(remote.wait_for(|remote| *remote == Remote::Canceled))
        .await
        .unwrap();
    let job = gitlab.job.lock();
    assert_eq!(job.updates[0]["state"], "running");
    assert_eq!(job.pieces, 0);
}

#[tokio::test]
async fn a_held_session_sends_nothing_until_it_is_released() {
    let gitlab = GitLab::start().await;
    let options = TraceOptions {
        silence: Duration::from_millis(10),
        patience: Duration::from_secs(1),
        ..quick()
    };
    let (writer, session) = open_with(&gitlab, FRESH, options).await;
    writer.line("before");
    session.flush().await.unwrap();
    session.hold(true);
    writer.line("meanwhile");
    let unsent = session.flush().await;
    assert!(
        matches!(unsent, Err(Error::TraceUnsent { .. })),
        "{unsent:?}"
    );
    assert_eq!(gitlab.trace(), "before\n");
    let updates = || gitlab.job.lock().updates.len();
    let said = updates();
    assert!(session.flush().await.is_err());
    assert_eq!(
        updates(),
        said,
        "it does not say either that the job is alive"
    );
    session.hold(false);
    session.flush().await.unwrap();
    assert_eq!(gitlab.trace(), "before\nmeanwhile\n");
}

#[tokio::test]
async fn a_finished_job_accepts_no_trace() {
    let gitlab = GitLab::start().await;
    gitlab.change(|job| job.over = true);
    let opened = TraceSession::open(gitlab.client(), JOB, token(), Vec::new(), END, quick()).await;
    assert!(matches!(
        opened,
        Err(Error::TraceOver {
            remote: Remote::Gone,
            ..
        })
    ));

    let (writer, session) = open(&gitlab, FRESH).await;
    writer.write(b"hello");
    match session.close().await {
        Err(Error::TraceOver {
            remote: Remote::Gone,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn patience_ends() {
    let gitlab = GitLab::start().await;
    gitlab.change(|job| job.faults = vec![(500, false); 1000]);
    let options = TraceOptions {
        patience: Duration::from_millis(50),
        ..quick()
    };
    let (writer, session) = open_with(&gitlab, FRESH, options).await;
    writer.write(b"hello");
    match session.close().await {
        Err(Error::TraceUnsent {
            bytes: 5,
            source: Some(source),
            ..
        }) => {
            assert!(source.is_transient());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_limit_is_announced_in_the_trace() {
    let gitlab = GitLab::start().await;
    let options = TraceOptions {
        limit: 10,
        ..quick()
    };
    let (writer, session) = open_with(&gitlab, FRESH, options).await;
    writer.write(b"0123456789abcdef");
    writer.write(b"more");
    session.close().await.unwrap();
    assert!(gitlab.trace().starts_with("0123456789\n"));
    assert!(gitlab.trace().contains("limit of 10 bytes"));
    assert!(!gitlab.trace().contains("more"));
}

#[tokio::test]
async fn sections_and_lines_look_like_gitlabs() {
    let writer = TraceWriter::detached(&["hunter2".to_owned()]).unwrap();
    writer.section_start("get_sources", "Getting sources", true);
    writer.info("hunter2");
    writer.section_end("get_sources");
    writer.error("it failed");
    let contents = String::from_utf8(writer.contents()).unwrap();
    insta::with_settings!({ filters => vec![(r":\d{10}:", ":<time>:")] }, {
        insta::assert_snapshot!(contents.escape_debug());
    });
}
