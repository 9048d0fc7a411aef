//! What a process is told, and what it says.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

/// How long the output of a process that has ended is read on.
const LINGER: Duration = Duration::from_secs(1);

/// Hands a process its input and on what it says, until it ends; gives its exit code, and 128 and
/// the signal's number where one ended it, as shells do.
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
            // A shell that ends before it has read all is not an error of ours.
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
            // What it left in the background may hold its output open for ever.
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
