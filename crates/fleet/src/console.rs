//! The console output of an instance: the only source for the diagnosis of one that never reported.

use aws_sdk_ec2::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onspot_reconcile::ServiceResultExt;

use crate::{Error, InstanceId};

/// How the boot script begins the line that says what failed.
const FAILED: &str = "onspot boot: FAILED";

/// The console output of an instance; `None` when EC2 has none yet.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses the call or cannot be reached.
pub async fn console(ec2: &Client, instance: &InstanceId) -> Result<Option<String>, Error> {
    // EC2 has the latest output of Nitro instances only; of others it has the output of their boot.
    let latest = ask(ec2, instance, true).await;
    match latest {
        Ok(Some(text)) => Ok(Some(text)),
        Ok(None) | Err(_) => ask(ec2, instance, false).await,
    }
}

async fn ask(ec2: &Client, instance: &InstanceId, latest: bool) -> Result<Option<String>, Error> {
    let call = ec2.get_console_output().instance_id(instance.as_str());
    let answer = call.latest(latest).send().await;
    let output = answer.calling("GetConsoleOutput")?.output;
    Ok(output.filter(|output| !output.is_empty()).map(|output| {
        let bytes = STANDARD
            .decode(output.replace(['\n', '\r'], ""))
            .unwrap_or_else(|_| output.into_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

/// The last `lines` non-empty lines, preceded by those that the boot script marked as failed.
/// Control sequences are removed, so that printing them is safe.
pub fn tail(console: &str, lines: usize) -> Vec<String> {
    let said: Vec<String> = console
        .lines()
        .map(plain)
        .filter(|line| !line.is_empty())
        .collect();
    let cut = said.len().saturating_sub(lines);
    let failed = said[..cut].iter().filter(|line| line.contains(FAILED));
    failed.chain(&said[cut..]).cloned().collect()
}

/// A line without escape sequences and other control characters.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                // Parameters, up to the letter that ends the sequence.
                while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                rest.next();
            }
            '\t' => plain.push(' '),
            next if next.is_control() => {}
            next => plain.push(next),
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_is_shown_even_if_much_follows() {
        let mut console = "boot\nonspot boot: FAILED with status 1 at line 9: get\n".to_owned();
        console.push_str(&"noise\r\n\n".repeat(50));
        let tail = tail(&console, 20);
        assert_eq!(tail.len(), 21);
        assert!(tail[0].contains("FAILED"));
        assert_eq!(tail[1], "noise");
    }

    #[test]
    fn what_would_steer_a_terminal_is_left_out() {
        assert_eq!(tail("\u{1b}[1;31mred\u{1b}[0m\u{7}\tend", 1), ["red end"]);
    }
}
