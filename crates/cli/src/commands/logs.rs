//! `onspot logs`: the logs of managers and workers from CloudWatch Logs.

use std::pin::pin;

use futures::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use onspot_stack::{Clients, LogLine, LogOptions, Spec};

use crate::cli::{Global, Logs, Role};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals;

/// Prints lines, and follows them if asked to.
pub(crate) async fn logs(args: &Logs, global: Global) -> Result<(), Failure> {
    let output = Output::new(global.output);
    let spec = Spec::load(&args.stack.config)?;
    let clients = Clients::connect(&spec).await?;
    let options = LogOptions {
        role: args.role.map(|role| match role {
            Role::Manager => "manager".to_owned(),
            Role::Worker => "worker".to_owned(),
        }),
        instance: args.instance.clone(),
        since: Timestamp::now().checked_sub(args.since).ok(),
    };
    if !args.follow {
        for line in onspot_stack::read_logs(&spec.name, &clients, &options).await? {
            output.result(&line, || text(&line))?;
        }
        return Ok(());
    }
    let end = signals::shutdown_token()?;
    let mut lines = pin!(onspot_stack::follow(&spec.name, &clients, &options)?);
    loop {
        let next = tokio::select! {
            () = end.cancelled() => return Ok(()),
            next = lines.next() => next,
        };
        match next {
            Some(line) => {
                let line = line?;
                output.result(&line, || text(&line))?;
            }
            None => return Ok(()),
        }
    }
}

/// The local time, the instance and the line.
fn text(line: &LogLine) -> String {
    let at = line
        .at
        .to_zoned_datetime(TimeZone::system())
        .strftime("%m-%d %H:%M:%S");
    let (dim, off) = (anstyle::Style::new().dimmed(), anstyle::Reset);
    format!(
        "{dim}{at} {}{off} {}\n",
        line.stream,
        line.message.trim_end()
    )
}
