//! Information printed when a proof has failed.

#![expect(
    clippy::print_stderr,
    reason = "the diagnosis belongs next to the panic"
)]

use onspot_e2e::world::World;
use onspot_mock_gitlab::MockGitlab;

/// How many of the last AWS calls are shown.
const CALLS: usize = 60;
/// How many of a journal's last lines are shown.
const LINES: usize = 80;

/// Prints the jobs with their traces, the guests' journals and the last calls to AWS.
pub(crate) async fn print(world: &World) {
    jobs(world.gitlab());
    for guest in world.hypervisor().guests() {
        let id = &guest.instance.id;
        eprintln!("── {} {id}", guest.instance.tag("onspot:role"));
        let lines = LINES.to_string();
        let journal = [
            "journalctl",
            "--no-pager",
            "--output",
            "short-precise",
            "-n",
            &lines,
        ];
        match world.hypervisor().exec(id, &journal).await {
            Ok((_, text)) => eprintln!("{text}"),
            Err(error) => eprintln!("no journal: {error}"),
        }
    }
    let calls = world.cloud().calls();
    eprintln!("── the last calls to AWS");
    for call in calls.since(calls.len().saturating_sub(CALLS)) {
        eprintln!("{call}");
    }
}

/// Prints the jobs with their traces and all calls about them.
pub(crate) fn jobs(gitlab: &MockGitlab) {
    for job in gitlab.jobs() {
        eprintln!("── job {} {} {}", job.id, job.name, job.status);
        for call in gitlab.calls(job.id) {
            eprintln!(
                "{} {} {:?} → {}",
                call.at, call.caller.address, call.kind, call.status
            );
        }
        eprintln!("{}", gitlab.trace(job.id));
    }
}

/// Prints a program's log.
pub(crate) fn log(text: &str) {
    eprintln!("── log\n{text}");
}
