//! Runs a helper to its end, and sees to it that nothing of it is left: neither when it hangs, nor when its asker is gone,
//! nor when it leaves children behind.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;

/// The most that a helper may print.
pub(super) const MOST: usize = 64 << 10;
/// How long the end of a pipe is waited for once the helper itself has ended: a process that left its group may hold it.
const LINGER: Duration = Duration::from_millis(500);

/// A helper that came to its end.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    /// No more than [`MOST`] of it.
    pub(super) stderr: Vec<u8>,
}

/// Why it did not.
#[derive(Debug)]
pub(super) enum Failure {
    Start(io::Error),
    /// It printed more than [`MOST`].
    TooMuch,
    /// It took too long.
    Silent,
}

/// The helper with all its children, as long as they stay in its process group; killed when this is dropped.
struct Group(Option<Pid>);

/// Runs it with `input` on its standard input.
pub(super) async fn run(mut command: Command, input: &str, limit: Duration) -> Result<Ended, Failure> {
    // before it starts, so that its end cannot be missed
    let mut exits = unix::signal(SignalKind::child()).map_err(Failure::Start)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Failure::Start)?;
    // dropped before the child: while the child is not reaped, nobody else can have its number
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let leader = group.0;
    let running = async {
        if let Some(mut stdin) = child.stdin.take() {
            // it may not care
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        {
            let both = async {
                let (out, err) = (child.stdout.take(), child.stderr.take());
                tokio::try_join!(read(out, &mut stdout, true), read(err, &mut stderr, false)).map(drop)
            };
            tokio::pin!(both);
            let read = tokio::select! {
                read = &mut both => Some(read?),
                () = ended(leader, &mut exits) => None,
            };
            if read.is_some() {
                ended(leader, &mut exits).await;
            }
            group.kill();
            if read.is_none() {
                timeout(LINGER, both).await.unwrap_or(Ok(()))?;
            }
        }
        let status = child.wait().await.map_err(Failure::Start)?;
        Ok(Ended { status, stdout, stderr })
    };
    timeout(limit, running).await.unwrap_or(Err(Failure::Silent))
}

/// Reads to the end; beyond [`MOST`] it fails, or reads on for nothing.
async fn read(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, fails: bool) -> Result<(), Failure> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut part = [0; 4096];
    loop {
        // a pipe that breaks has ended
        let n = pipe.read(&mut part).await.unwrap_or(0);
        if n == 0 {
            return Ok(());
        }
        let room = MOST - into.len();
        if n > room && fails {
            return Err(Failure::TooMuch);
        }
        into.extend_from_slice(&part[..n.min(room)]);
    }
}

/// Waits until it has ended, without reaping it.
async fn ended(leader: Option<Pid>, exits: &mut unix::Signal) {
    let Some(leader) = leader else { return };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = waitid(WaitId::Pid(leader), look) {
        if exits.recv().await.is_none() {
            return;
        }
    }
}

impl Group {
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // an error means that nobody is left
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
