//! A real program, run in mount and pid namespaces of its own, that ends whatever happens to the process that started it.
//!
//! The namespace's first process is a small shell that reads from a pipe which only we hold: each line is a signal to
//! pass on, and the end of the pipe means TERM, then KILL after ten seconds. When the program ends, so does that shell,
//! and the kernel kills everything else in the namespace and drops its mounts. So nothing outlives us: no shim that
//! dockerd started, no mount of a container, not even after `kill -9`. Nothing is ever looked up by name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::scratch::Scratch;

/// `$1` is the log's stem and `$2` says how to prepare the namespace; the rest is the program.
const FIRST_PROCESS: &str = r#"
exec 8<&0 </dev/null
log=$1 prepare=$2; shift 2
enter=
set -e
eval "$prepare" 2>>"$log.err"
set +e
$enter "$@" >>"$log.out" 2>>"$log.err" 8<&- &
pid=$!
(
  while read -r signal; do kill -s "$signal" $pid; done
  kill -s TERM $pid
  kill -s CONT $pid
  left=100
  while [ $left -gt 0 ] && kill -0 $pid; do sleep 0.1; left=$((left - 1)); done
  kill -s KILL $pid
) <&8 >/dev/null 2>&1 &
exec 8<&-
wait $pid
"#;

/// What to run and how.
#[derive(Debug, Clone, Default)]
pub struct Program {
    name: String,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    prepare: String,
    net: Option<PathBuf>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    line: Option<ChildStdin>,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Program {
    /// The program `path`, called `name` in messages and in its logs' names.
    pub fn new(name: &str, path: impl AsRef<OsStr>) -> Self {
        Self { name: name.into(), command: vec![path.as_ref().into()], ..Self::default() }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.push(arg.as_ref().into());
        self
    }

    /// More arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets a variable in the program's environment.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Shell commands to run in the new namespaces before the program; they may set `enter` to a command prefix.
    pub fn prepare(mut self, script: &str) -> Self {
        self.prepare = script.into();
        self
    }

    /// Runs it in this network: see [`crate::Net::path`].
    pub fn within(mut self, net: &Path) -> Self {
        self.net = Some(net.to_owned());
        self
    }

    /// Starts it. Its standard output and error are appended to `NAME.out` and `NAME.err` in the directory.
    pub fn start(&self, scratch: &Scratch) -> Result<Process> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::failed(format!("starting {}", self.name), "namespaces and mounts need root"));
        }
        let log = scratch.path().join(&self.name);
        let mut command = Command::new("flock");
        command
            .args(["--shared", "--no-fork"])
            .arg(scratch.running_lock())
            .args(self.net.iter().flat_map(|net| ["nsenter".into(), format!("--net={}", net.display()), "--".into()]))
            .args(["unshare", "--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", FIRST_PROCESS, "layerkeeper-first"])
            .arg(&log)
            .arg(&self.prepare)
            .args(&self.command)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().doing(|| format!("starting {}", self.name))?;
        let line = child.stdin.take();
        Ok(Process { child, line, log, ended: None })
    }
}

impl Process {
    /// How it ended, if it did; a signal shows as 128 and its number.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends a signal (`HUP`, `TERM`, `KILL`, `STOP`, …) to the program.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        let line = self.line.as_mut().ok_or_else(|| Error::failed("sending a signal", "the process was stopped"))?;
        writeln!(line, "{signal}").doing(|| format!("sending {signal}"))
    }

    /// TERM, and KILL after ten seconds; returns when everything in the namespace is gone.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        drop(self.line.take());
        let status = self.wait(Duration::from_secs(15));
        if status.is_none() {
            // its death is the namespace's: --kill-child
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        self.ended
    }

    /// KILL, without a chance to tidy up.
    pub fn kill9(&mut self) {
        let _ = self.signal("KILL");
        self.wait(Duration::from_secs(10));
        self.stop();
    }

    /// Waits until the program ended by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ended
    }

    /// The program's process id as seen from outside its namespace.
    pub fn pid(&self) -> Option<u32> {
        let first = children_of(self.child.id()).into_iter().next()?;
        // the oldest child is the program, the next the shell that reads our signals
        children_of(first).into_iter().min()
    }

    /// What it wrote to standard output.
    pub fn out(&self) -> String {
        read_lossy(&self.out_path())
    }

    /// What it wrote to standard error.
    pub fn err(&self) -> String {
        read_lossy(&with_suffix(&self.log, ".err"))
    }

    /// The last lines of both.
    pub fn tail(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        format!("{}\n{}", tail(self.out()), tail(self.err()))
    }

    pub(crate) fn out_path(&self) -> PathBuf {
        with_suffix(&self.log, ".out")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = read_lossy(Path::new(&format!("/proc/{pid}/stat")));
        // the name in parentheses may hold anything, so count from its end
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok()) == Some(parent)
    };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: Vec<u32> = pids.filter(is_child).collect();
    children.sort_unstable();
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_all_that_it_started_end_with_it() {
        let scratch = Scratch::new("process").unwrap();
        let script = "sleep 1000 & echo started; trap 'echo asked; exit 3' TERM; wait; wait";
        let mut process = Program::new("sh", "sh").args(["-c", script]).start(&scratch).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.out() != "started\n" {
            assert!(Instant::now() < deadline, "{:?} {}", process.ended(), process.tail());
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = process.pid().unwrap();
        let sleeping = children_of(pid)[0];
        assert!(fs::read_to_string(format!("/proc/{sleeping}/cmdline")).unwrap().starts_with("sleep"));
        assert_eq!(process.stop().unwrap().code(), Some(3));
        assert_eq!(process.out(), "started\nasked\n");
        assert!(!Path::new(&format!("/proc/{sleeping}")).exists());
    }

    #[test]
    fn a_failed_preparation_ends_the_process_and_says_why() {
        let scratch = Scratch::new("prepare").unwrap();
        let mut process = Program::new("x", "true").prepare("mount --bind /nowhere /nowhere").start(&scratch).unwrap();
        assert!(!process.wait(Duration::from_secs(10)).unwrap().success());
        assert!(process.err().contains("/nowhere"), "{}", process.err());
    }
}
