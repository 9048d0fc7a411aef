//! Asks for confirmation.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Whether there is a terminal where a person can be asked.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks on stderr; only `y` and `yes` mean yes. Ctrl-C interrupts.
pub(crate) async fn confirmed(question: &str) -> Result<bool, Failure> {
    let question = format!("{question} [y/N] ");
    let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
    match asked {
        Ok(Ok(answer)) => Ok(matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        )),
        Ok(Err(error)) => Err(Failure::caused("cannot ask", error)),
        Err(error) => Err(Failure::caused("cannot ask", error)),
    }
}

fn ask(question: &str) -> std::io::Result<String> {
    let mut stderr = anstream::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}
