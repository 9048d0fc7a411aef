//! The input and output of a process.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

/// How long the output of an ended process is still read.
const LINGER: Duration = Duration::from_secs(1);

/// Sends a process its input and forwards its output until it ends; returns its exit code, or, as
/// shells do, 128 plus the number of the signal that ended it.
pub(super) async fn exchange(
    child: &mut Child,
    input: &[u8],
    output: impl FnMut(&[u8]),
    errors: impl FnMut(&[u8]),
) -> std::io::Result<i32> {
    use std::os::unix::process::ExitStatusExt;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A shell may end before it has read everything; that is not an error.
            let _ = stdin.write_all(input).await;
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let pumps = async { tokio::join!(write, pump(stdout, output), pump(stderr, errors)) };
    let mut pumps = std::pin::pin!(pumps);
    let status = tokio::select! {
        ((), out, err) = &mut pumps => {
            out.and(err)?;
            child.wait().await?
        }
        status = child.wait() => {
            // Background processes may keep its output open forever.
            let _ = tokio::time::timeout(LINGER, pumps).await;
            status?
        }
    };
    Ok(status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(-1))
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    mut to: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => to(&buffer[..length]),
        }
    }
}
