//! The sending side of a trace.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::buffer::Buffer;
use super::pace::{PIECE, Pace, Step};
use super::sink::Sink;
use super::{TraceOptions, TracePosition, TraceStart, TraceWriter};
use crate::Error;
use crate::client::Client;
use crate::mask::Masker;
use crate::remote::Remote;
use crate::response::{self, PatchOutcome, RemoteStatus};
use crate::token::{JobId, JobToken};
use crate::update::JobUpdate;

/// The longest sleep of a held session; it is woken earlier.
const HELD: Duration = Duration::from_hours(1);

/// Sends a job's trace in the background. Dropping it stops that at once, even if output is unsent.
#[derive(Debug)]
pub struct TraceSession {
    sink: Arc<Sink>,
    flushes: mpsc::UnboundedSender<Flush>,
    remote: watch::Receiver<Remote>,
    patience: Duration,
    held: watch::Sender<bool>,
    job: JobId,
    task: JoinHandle<()>,
}

/// A caller waits until the trace is sent up to here.
#[derive(Debug)]
struct Flush {
    until: u64,
    deadline: Instant,
    /// Whether the session ends afterwards.
    last: bool,
    done: oneshot::Sender<Result<TracePosition, Error>>,
}

impl TraceSession {
    /// Starts to write a job's trace. The values in `masks` and the job's token are masked.
    ///
    /// # Errors
    /// [`Error::TraceOver`] if the job is over; any error of asking GitLab for the trace's end.
    pub async fn open(
        client: Client,
        job: JobId,
        token: JobToken,
        masks: Vec<String>,
        start: TraceStart,
        options: TraceOptions,
    ) -> Result<(TraceWriter, Self), Error> {
        let begin = match start {
            TraceStart::At(position) => position,
            TraceStart::End { last_known } => {
                let offset = client.trace_length(job, &token).await?;
                position_at(offset, last_known)
            }
        };
        let masks = masks.iter().map(String::as_str).chain([token.expose()]);
        let masker = Masker::with_token_prefixes(masks, &options.token_prefixes)?;
        let buffer = Buffer::new(begin, options.limit);
        let sink = Arc::new(Sink::new(masker, buffer, PIECE, options.timestamps));

        let (flushes, requests) = mpsc::unbounded_channel();
        let (told, remote) = watch::channel(Remote::Running);
        let (held, holds) = watch::channel(false);
        let sender = Sender {
            client,
            job,
            token,
            sink: Arc::clone(&sink),
            debug: options.debug,
            pace: Pace::new(begin.offset, &options, Instant::now()),
            requests,
            waiting: Vec::new(),
            held: holds,
            remote: told,
            last_error: None,
        };
        let task = tokio::spawn(sender.run());
        let session = Self {
            sink: Arc::clone(&sink),
            flushes,
            remote,
            patience: options.patience,
            held,
            job,
            task,
        };
        Ok((TraceWriter::new(sink), session))
    }

    /// The job's status in GitLab.
    pub fn remote(&self) -> watch::Receiver<Remote> {
        self.remote.clone()
    }

    /// While held, collects output but sends GitLab nothing: somebody else may write the trace
    /// meanwhile.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Sends the output so far, except an end that may become a secret, and returns the trace's end
    /// after that.
    ///
    /// # Errors
    /// [`Error::TraceOver`], [`Error::TraceUnsent`].
    pub async fn flush(&self) -> Result<TracePosition, Error> {
        self.send_until(self.sink.read(Buffer::end), false).await
    }

    /// Sends everything and ends the session; nothing more is sent to GitLab.
    ///
    /// # Errors
    /// [`Error::TraceOver`], [`Error::TraceUnsent`].
    pub async fn close(self) -> Result<TracePosition, Error> {
        self.sink.close();
        self.send_until(self.sink.read(Buffer::end), true).await
    }

    async fn send_until(&self, until: u64, last: bool) -> Result<TracePosition, Error> {
        let (done, answer) = oneshot::channel();
        let flush = Flush {
            until,
            deadline: Instant::now() + self.patience,
            last,
            done,
        };
        // The task ends only with this session; if it has died, the answer is missing.
        let _ = self.flushes.send(flush);
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(Error::TraceOver {
                job: self.job,
                remote: *self.remote.borrow(),
            }),
        }
    }
}

impl Drop for TraceSession {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The trace's end, with its checksum if nobody has written since it was known.
fn position_at(offset: u64, last_known: Option<TracePosition>) -> TracePosition {
    match last_known {
        _ if offset == 0 => TracePosition::START,
        Some(known) if known.offset == offset => known,
        _ => TracePosition {
            offset,
            crc32: None,
        },
    }
}

/// The background task.
struct Sender {
    client: Client,
    job: JobId,
    token: JobToken,
    sink: Arc<Sink>,
    debug: bool,
    pace: Pace,
    requests: mpsc::UnboundedReceiver<Flush>,
    waiting: Vec<Flush>,
    held: watch::Receiver<bool>,
    remote: watch::Sender<Remote>,
    last_error: Option<Error>,
}

impl Sender {
    async fn run(mut self) {
        loop {
            if self.answer_flushes() {
                return;
            }
            match self.next() {
                Step::Send(start) => self.send(start).await,
                Step::SayAlive => self.say_alive().await,
                Step::Wait(until) => {
                    let deadline = self.waiting.iter().map(|flush| flush.deadline).min();
                    let until = deadline.map_or(until, |deadline| deadline.min(until));
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.sink.woken() => {}
                        Ok(()) = self.held.changed() => {}
                        flush = self.requests.recv() => match flush {
                            Some(flush) => self.waiting.push(flush),
                            None => return,
                        },
                    }
                }
                Step::Over => match self.requests.recv().await {
                    Some(flush) => self.waiting.push(flush),
                    None => return,
                },
            }
        }
    }

    fn next(&mut self) -> Step {
        let now = Instant::now();
        if *self.held.borrow_and_update() {
            return Step::Wait(now + HELD);
        }
        let end = self.sink.read(Buffer::end);
        self.pace.step(end, !self.waiting.is_empty(), now)
    }

    async fn send(&mut self, start: u64) {
        let most = usize::try_from(PIECE).unwrap_or(usize::MAX);
        let piece = self.sink.read(|buffer| buffer.piece(start, most).to_vec());
        let length = piece.len() as u64;
        self.pace.sending(start, length);
        let result = self
            .client
            .patch_trace(self.job, &self.token, start, &piece, self.debug)
            .await;
        self.pace
            .sent(start, length, result.as_ref(), Instant::now());
        self.sink.set_stored(self.pace.stored());
        self.after(result.err());
    }

    async fn say_alive(&mut self) {
        let result = self
            .client
            .update_job(self.job, &self.token, &JobUpdate::running())
            .await;
        self.pace.said_alive(result.as_ref(), Instant::now());
        self.after(result.err());
    }

    fn after(&mut self, failure: Option<Error>) {
        if let Some(error) = &failure {
            tracing::warn!(job = %self.job, %error, "the trace could not be sent yet");
        }
        self.last_error = failure;
        let now = self.pace.remote();
        self.remote.send_if_modified(|remote| {
            let changed = *remote != now;
            if changed {
                tracing::info!(job = %self.job, remote = %now, "GitLab says of the job");
            }
            *remote = now;
            changed
        });
    }

    /// Answers callers whose flush is complete or can no longer succeed; returns whether one of
    /// them was the last.
    fn answer_flushes(&mut self) -> bool {
        let mut ended = false;
        while let Ok(flush) = self.requests.try_recv() {
            self.waiting.push(flush);
        }
        let (stored, remote, now) = (self.pace.stored(), self.pace.remote(), Instant::now());
        for flush in std::mem::take(&mut self.waiting) {
            let result = if remote.is_over() {
                Err(Error::TraceOver {
                    job: self.job,
                    remote,
                })
            } else if stored >= flush.until {
                Ok(self.sink.read(|buffer| buffer.position(stored)))
            } else if now >= flush.deadline {
                let source = self.last_error.take().map(Box::new);
                Err(Error::TraceUnsent {
                    job: self.job,
                    bytes: flush.until - stored,
                    source,
                })
            } else {
                self.waiting.push(flush);
                continue;
            };
            ended |= flush.last;
            // A caller that gave up waiting needs no answer.
            let _ = flush.done.send(result);
        }
        ended
    }
}

impl Client {
    /// Asks GitLab for a trace's length by sending an empty piece at its start.
    ///
    /// # Errors
    /// [`Error::TraceOver`] if the job is over.
    pub async fn trace_length(&self, job: JobId, token: &JobToken) -> Result<u64, Error> {
        let request = self.api.patch_trace(job, token, 0, b"", false)?;
        let answer = self
            .retry(&request, "say how long the trace is", response::patch)
            .await?;
        match answer.outcome {
            PatchOutcome::Accepted => Ok(answer.length.unwrap_or(0)),
            PatchOutcome::Offset(length) => Ok(length),
            PatchOutcome::Refused => {
                let remote = match answer.remote {
                    RemoteStatus::Canceled => Remote::Canceled,
                    _ => Remote::Gone,
                };
                Err(Error::TraceOver { job, remote })
            }
        }
    }
}
