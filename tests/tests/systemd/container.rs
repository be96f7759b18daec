//! A Debian 12 that boots systemd, with layerkeeper installed by `deploy/install.sh` and an engine's socket inside.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use layerkeeper_testkit::{Engine, Process, Program, Scratch, tree};

/// What systemd needs to boot; the rest is the installer's.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ca-certificates";

/// An overlay over the tree, with what is installed and what only the test needs: a faster watchdog. The cgroup tree is
/// mounted anew, because hosts that still mount version 1 have it elsewhere.
const PREPARE: &str = r#"
mount -t tmpfs -o mode=755 tmpfs "$LK_DIR/ns"
mkdir "$LK_DIR/ns/upper" "$LK_DIR/ns/work" "$LK_DIR/ns/root"
root=$LK_DIR/ns/root
mount -t overlay -o "lowerdir=$LK_TREE,upperdir=$LK_DIR/ns/upper,workdir=$LK_DIR/ns/work" overlay "$root"
"$LK_INSTALL" --root "$root" --binary "$LK_BINARY" >&2
mkdir "$root/etc/systemd/system/layerkeeper.service.d"
printf '[Service]\nWatchdogSec=4s\nRestartSec=200ms\n' >"$root/etc/systemd/system/layerkeeper.service.d/fast.conf"
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$LK_NAME"
echo $$ >"/sys/fs/cgroup/$LK_NAME/cgroup.procs"
"#;

/// A booted container; it ends when dropped.
pub struct Container {
    process: Process,
    leader: u32,
    name: String,
    _scratch: Scratch,
}

impl Container {
    /// Boots one with this program installed. The engine's socket is `/engine/docker.sock` in it, its data root
    /// `/var/lib/docker`.
    pub fn boot(engine: &Engine, binary: &Path) -> Self {
        let tree = tree::made("bookworm-systemd", "bookworm", PACKAGES).unwrap();
        let scratch = Scratch::new("systemd").unwrap();
        fs::create_dir(scratch.path().join("ns")).unwrap();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_ascii_lowercase();
        let install = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/install.sh");
        let mut process = Program::new("nspawn", "systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--machine=layerkeeper-test"])
            .arg(format!("--bind={}:/engine", engine.socket().parent().unwrap().display()))
            .arg(format!("--bind={}:/var/lib/docker", engine.data_root().display()))
            .arg("--directory")
            .arg(scratch.path().join("ns/root"))
            .arg("--boot")
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("LK_DIR", scratch.path())
            .env("LK_TREE", tree)
            .env("LK_INSTALL", install)
            .env("LK_BINARY", binary)
            .env("LK_NAME", &name)
            .prepare(PREPARE)
            .start(&scratch)
            .unwrap();
        let leader = until("the container's first process", || {
            assert!(process.ended().is_none(), "{}", process.tail());
            process.pid().and_then(child_of).filter(|pid| is_first_process(*pid))
        });
        let container = Self { process, leader, name, _scratch: scratch };
        until("the end of the boot", || {
            let state = container.run(&["systemctl", "is-system-running"]);
            matches!(stdout(&state).trim(), "running" | "degraded").then_some(())
        });
        container
    }

    /// Runs a program in it.
    pub fn run(&self, command: &[&str]) -> Output {
        let leader = self.leader.to_string();
        Command::new("nsenter")
            .args(["--target", &leader, "--mount", "--uts", "--ipc", "--pid", "--root", "--wd"])
            .args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"])
            .args(command)
            .output()
            .unwrap()
    }

    /// Runs a program in it that must succeed; its standard output.
    #[track_caller]
    pub fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{stderr}\n{}", output.status, self.journal());
        stdout(&output)
    }

    /// A path of it, seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// What the service logged since its last start, and before.
    pub fn journal(&self) -> String {
        stdout(&self.run(&["journalctl", "--unit=layerkeeper", "--no-pager", "--output=cat"]))
    }

    /// A property of the service, as `systemctl show` gives it.
    pub fn property(&self, name: &str) -> String {
        let shown = self.ok(&["systemctl", "show", "layerkeeper", "--value", "--property", name]);
        shown.trim().to_owned()
    }

    /// Lets the container's group `docker` use the engine's socket: group ids differ between host and container.
    pub fn share(&self, engine: &Engine) {
        let groups = fs::read_to_string(self.path("/etc/group")).unwrap();
        let docker = groups.lines().find_map(|line| line.strip_prefix("docker:x:")?.split(':').next()?.parse().ok());
        chown(engine.socket(), Some(0), Some(docker.expect("a group docker"))).unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        self.process.stop();
        // the kernel keeps empty cgroups until somebody removes them
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let roots = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
        for root in roots.filter_map(|line| line.split(' ').nth(1)) {
            remove_cgroups(&Path::new(root).join(&self.name));
        }
    }
}

/// What a program printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for something, for at most half a minute.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn remove_cgroups(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroups(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Number 1 in the innermost pid namespace, and already systemd.
fn is_first_process(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let first = status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
    first && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
}
