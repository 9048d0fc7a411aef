//! Only the helper, like `onspot helper`: for this crate's own tests.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("helper") {
        return ExitCode::from(2);
    }
    ExitCode::from(onspot_executor::helper::run(tokio::io::stdin()).await)
}
