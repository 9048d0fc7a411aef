//! The runners' reports about a job: its state and its trace.
//!
//! The answers follow `lib/api/ci/runner.rb`, `UpdateBuildStateService` and
//! `AppendBuildTraceService` of GitLab. One thing is stricter: a result whose size or checksum
//! differs from the stored trace is refused with 412, which runners understand; GitLab only logs
//! it.

use jiff::Timestamp;

use super::store::State;
use crate::ids::JobId;
use crate::model::{Job, Reported};
use crate::record::{Caller, JobCall, JobCallKind, ViolationKind};

/// Body of `PUT jobs/:id`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub(crate) state: String,
    pub(crate) failure_reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) checksum: Option<String>,
    pub(crate) bytesize: Option<u64>,
}

impl Update {
    fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "success" | "failed")
    }

    fn as_reported(&self) -> Reported {
        Reported {
            state: self.state.clone(),
            failure_reason: self.failure_reason.clone(),
            exit_code: self.exit_code,
        }
    }

    /// Whether size and checksum, if given, match the trace.
    fn fits(&self, trace: &[u8]) -> bool {
        let size = self.bytesize.is_none_or(|size| size == trace.len() as u64);
        let checksum = self
            .checksum
            .as_ref()
            .and_then(|text| text.strip_prefix("crc32:"));
        size && checksum.is_none_or(|hex| {
            u32::from_str_radix(hex, 16).is_ok_and(|crc| crc == crc32fast::hash(trace))
        })
    }
}

/// Answer to `PATCH jobs/:id/trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// 202: stored; the trace has this size now.
    Stored(u64),
    /// 416: the trace has this size; continue from there.
    OutOfRange(u64),
    /// 403: the job is over, or its trace is too large.
    Refused,
}

impl Appended {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Stored(_) => 202,
            Self::OutOfRange(_) => 416,
            Self::Refused => 403,
        }
    }
}

impl State {
    /// `PUT jobs/:id`: returns the HTTP status.
    pub(crate) fn report(
        &mut self,
        id: JobId,
        update: &Update,
        caller: &Caller,
        now: Timestamp,
    ) -> u16 {
        let answer = self.report_answer(id, update, caller, now);
        let kind = JobCallKind::State {
            state: update.state.clone(),
            failure_reason: update.failure_reason.clone(),
            exit_code: update.exit_code,
            bytesize: update.bytesize,
            checksum: update.checksum.clone(),
        };
        self.record_call(id, caller, kind, answer, now);
        answer
    }

    fn report_answer(
        &mut self,
        id: JobId,
        update: &Update,
        caller: &Caller,
        now: Timestamp,
    ) -> u16 {
        let Some(job) = self.jobs.get_mut(&id) else {
            return 403;
        };
        if !job.status.is_with_runner() {
            if let (true, Some(first)) = (update.is_final(), &job.reported) {
                let kind = if *first == update.as_reported() {
                    ViolationKind::RepeatedResult
                } else {
                    ViolationKind::ConflictingResult
                };
                let detail = format!("{} after {} was accepted", update.state, first.state);
                self.violation(id, kind, detail, Some(caller), now);
            }
            return 403;
        }
        if update.state == "running" {
            return 200;
        }
        if !update.is_final() {
            let detail = format!("unknown state {:?}", update.state);
            self.violation(id, ViolationKind::Malformed, detail, Some(caller), now);
            return 400;
        }
        if update.checksum.is_some() && job.accepts_left > 0 {
            job.accepts_left -= 1;
            return 202;
        }
        if !update.fits(&job.trace) {
            job.resend_allowed = true;
            let detail = mismatch(job, update);
            self.violation(id, ViolationKind::TraceMismatch, detail, Some(caller), now);
            return 412;
        }
        job.reported = Some(update.as_reported());
        let reason = update
            .failure_reason
            .clone()
            .filter(|reason| !reason.is_empty());
        self.finish_job(id, update.state == "success", reason, update.exit_code, now);
        200
    }

    /// `PATCH jobs/:id/trace` with the bytes from `start` on.
    pub(crate) fn append_trace(
        &mut self,
        id: JobId,
        start: u64,
        body: &[u8],
        limit: u64,
        caller: &Caller,
        now: Timestamp,
    ) -> Appended {
        let appended = self.append(id, start, body, limit, caller, now);
        let kind = JobCallKind::Trace {
            start,
            length: body.len() as u64,
        };
        self.record_call(id, caller, kind, appended.status(), now);
        appended
    }

    fn append(
        &mut self,
        id: JobId,
        start: u64,
        body: &[u8],
        limit: u64,
        caller: &Caller,
        now: Timestamp,
    ) -> Appended {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Appended::Refused;
        };
        if !job.status.is_with_runner() {
            if job.reported.is_some() && !body.is_empty() {
                let detail = format!("{} bytes of trace", body.len());
                self.violation(id, ViolationKind::WriteAfterEnd, detail, Some(caller), now);
            }
            return Appended::Refused;
        }
        let end = start + body.len() as u64;
        if end > limit {
            self.finish_job(id, false, Some("trace_size_exceeded".to_owned()), None, now);
            return Appended::Refused;
        }
        if job.resend_allowed && start == 0 && !body.is_empty() {
            job.trace.clear();
            job.resend_allowed = false;
        }
        let size = job.trace.len() as u64;
        if start == size {
            job.trace.extend_from_slice(body);
            return Appended::Stored(end);
        }
        if overlaps(job, start, body) {
            let detail = format!("bytes {start} to {end} differ from what is there");
            self.violation(
                id,
                ViolationKind::OverlappingTrace,
                detail,
                Some(caller),
                now,
            );
        }
        // As in GitLab, a piece that ends where the trace ends is taken as a repetition.
        if end == size {
            Appended::Stored(size)
        } else {
            Appended::OutOfRange(size)
        }
    }

    /// Record a call about a job.
    pub(crate) fn record_call(
        &mut self,
        id: JobId,
        caller: &Caller,
        kind: JobCallKind,
        status: u16,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let wrote = matches!(kind, JobCallKind::State { .. } | JobCallKind::Trace { .. });
        if wrote && (200..300).contains(&status) {
            job.worker = Some(match (&caller.name, &job.worker) {
                (Some(name), _) => name.clone(),
                // The call carries no name, but it comes from the same machine.
                (None, Some(known)) if same_machine(job, caller) => known.clone(),
                (None, _) => caller.address.clone(),
            });
        }
        job.calls.push(JobCall {
            at: now,
            caller: caller.clone(),
            kind,
            status,
        });
    }
}

/// Was the last named caller at this address?
fn same_machine(job: &Job, caller: &Caller) -> bool {
    job.calls
        .iter()
        .rev()
        .find(|call| call.caller.name.is_some())
        .is_some_and(|call| call.caller.address == caller.address)
}

fn overlaps(job: &Job, start: u64, body: &[u8]) -> bool {
    let stored = usize::try_from(start)
        .ok()
        .and_then(|start| job.trace.get(start..));
    stored.is_some_and(|stored| stored.iter().zip(body).any(|(old, new)| old != new))
}

fn mismatch(job: &Job, update: &Update) -> String {
    format!(
        "the trace has {} bytes and crc32:{:08x}, reported were {} and {}",
        job.trace.len(),
        crc32fast::hash(&job.trace),
        update
            .bytesize
            .map_or_else(|| "no size".to_owned(), |size| format!("{size} bytes")),
        update.checksum.as_deref().unwrap_or("no checksum"),
    )
}
