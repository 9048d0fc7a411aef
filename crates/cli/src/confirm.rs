//! Asks a person.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Whether a person sits at this terminal and can be asked.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks on stderr; only `y` and `yes` mean yes.
pub(crate) fn confirmed(question: &str) -> Result<bool, Failure> {
    let failed = |error| Failure::caused("cannot ask", error);
    let mut stderr = anstream::stderr();
    write!(stderr, "{question} [y/N] ").map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
