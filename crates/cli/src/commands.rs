//! The verbs' implementations, one file per verb.

mod check;
mod down;
mod helper;
mod init;
mod logs;
mod manager;
mod migrate;
mod plan;
mod render;
mod run;
mod status;
mod up;
mod version;
mod watchdog;
mod worker;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;
use crate::signals::interruptible;

/// Executes the verb.
pub(crate) async fn perform(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.verb {
        Verb::Init(args) => init::init(&args, global),
        Verb::Plan(args) => plan::plan(&args, global).await,
        Verb::Up(args) => interruptible(Box::pin(up::up(&args, global))).await,
        Verb::Status(args) => status::status(&args, global).await,
        Verb::Logs(args) => logs::logs(&args, global).await,
        Verb::Down(args) => interruptible(Box::pin(down::down(&args, global))).await,
        Verb::Render(args) => render::render(&args, global).await,
        Verb::Check(args) => check::check(&args, global),
        Verb::Migrate(args) => migrate::migrate(&args, global),
        Verb::Version => version::version(global),
        Verb::Helper => helper::helper().await,
        Verb::Run(args) => run::run(&args).await,
        Verb::Manager(args) => manager::manager(&args).await,
        Verb::Worker(args) => worker::worker(&args).await,
        Verb::Watchdog(args) => watchdog::watchdog(&args).await,
    }
}
