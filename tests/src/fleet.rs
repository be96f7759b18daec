//! Three servers on one LAN, each with an engine and a daemon of its own, a cache beside them, and the registry behind one
//! throttled uplink. All of it in networks of our own.
//!
//! ```text
//! registry 10.77.1.1 ── uplink ── router ── bridge 10.77.2.1 ─┬─ cache 10.77.2.2
//!                     (throttled)                             └─ servers 10.77.2.11, .12, .13
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::eventually::eventually_blocking;
use layerkeeper_testkit::{
    Access, Auth, Engine, EngineKind, EngineOptions, Image, Net, Process, Program, Pushed, Registry, Scratch,
};
use serde_json::Value;

use crate::daemon::{Daemon, binary};

/// Where the registry is.
pub const ORIGIN: &str = "10.77.1.1:5000";

/// Where the cache is.
pub const CACHE: &str = "10.77.2.2:5000";

/// The configuration that is shipped.
const CACHE_CONFIG: &str = include_str!("../../deploy/lan-cache/config.yml");

/// All of it. Dropping it ends and removes all of it.
pub struct Fleet {
    /// In the order of their addresses.
    pub servers: Vec<Server>,
    cache: Option<Process>,
    origin: Process,
    pusher: Registry,
    cache_net: Net,
    _origin_net: Net,
    router: Net,
    scratch: Scratch,
}

/// A server.
pub struct Server {
    /// Its daemon.
    pub daemon: Daemon,
    /// Where it takes webhooks.
    pub url: String,
    engine: Engine,
    _net: Net,
}

impl Fleet {
    /// Starts it, with an uplink of so many bytes per second. There is no cache yet.
    pub fn start(uplink: Bytes) -> Self {
        let scratch = Scratch::new("fleet").expect("a scratch folder");
        let net = || Net::new().expect("a network");
        let (router, origin_net, cache_net) = (net(), net(), net());
        let run = |net: &Net, script: String| net.run(&script).expect("the network is set up");
        run(
            &router,
            "ip link add name lan type bridge; ip link set lan up; ip addr add 10.77.2.1/24 dev lan".to_owned(),
        );
        run(&router, "echo 1 >/proc/sys/net/ipv4/ip_forward".to_owned());
        origin_net.wire("wan", &router, "uplink").expect("a cable");
        run(&router, "ip addr add 10.77.1.2/24 dev uplink".to_owned());
        run(&origin_net, "ip addr add 10.77.1.1/24 dev wan; ip route add default via 10.77.1.2".to_owned());
        // both ways, as a line has it; the burst is small, so that what is counted is what was slow
        for (net, end) in [(&origin_net, "wan"), (&router, "uplink")] {
            run(net, format!("tc qdisc add dev {end} root tbf rate {}bit burst 32kb latency 50ms", uplink.0 * 8));
        }
        let join = |net: &Net, name: &str, address: &str| {
            router.wire(name, net, "lan").expect("a cable");
            run(&router, format!("ip link set {name} master lan"));
            run(net, format!("ip addr add {address}/24 dev lan; ip route add default via 10.77.2.1"));
        };
        join(&cache_net, "cache", "10.77.2.2");
        // whatever is pushed on loopback is there for the servers, too
        let pusher = Registry::start(Auth::Open).expect("a registry");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"{ORIGIN}\", secret: fleet}}\n",
            pusher.root().display()
        );
        let origin = registry("origin", &config, &origin_net, ORIGIN, &scratch);
        let servers = std::thread::scope(|scope| {
            let starting: Vec<_> = [(EngineKind::A, 11), (EngineKind::B, 12), (EngineKind::C, 13)]
                .map(|(kind, last)| {
                    let (net, address) = (net(), format!("10.77.2.{last}"));
                    join(&net, &format!("server{last}"), &address);
                    scope.spawn(move || Server::start(net, &address, kind))
                })
                .into_iter()
                .collect();
            starting.into_iter().map(|server| server.join().expect("a server starts")).collect()
        });
        Self { servers, cache: None, origin, pusher, cache_net, _origin_net: origin_net, router, scratch }
    }

    /// Starts a cache that has nothing yet, with the configuration that is shipped.
    pub fn renew_cache(&mut self) {
        self.kill_cache();
        let storage = self.scratch.path().join("cache");
        let _ = fs::remove_dir_all(&storage);
        let config = CACHE_CONFIG
            .replace("/var/lib/layerkeeper-lan-cache", &storage.display().to_string())
            .replace("10.0.0.2:5000", CACHE)
            .replace("https://ghcr.io", &format!("http://{ORIGIN}"));
        for part in [&storage.display().to_string(), CACHE, ORIGIN] {
            assert!(config.contains(part), "{part} has no place in the configuration that is shipped");
        }
        self.cache = Some(registry("cache", &config, &self.cache_net, CACHE, &self.scratch));
    }

    /// Ends the cache at once, in the middle of whatever it does.
    pub fn kill_cache(&mut self) {
        if let Some(mut cache) = self.cache.take() {
            cache.kill9();
        }
    }

    /// Pushes `acme/app:TAG`.
    pub fn push(&self, image: &Image, tag: &str) -> Pushed {
        image.push(&self.pusher, &format!("acme/app:{tag}")).expect("the image is pushed")
    }

    /// What came down the uplink so far, headers included.
    pub fn uplink(&self) -> Bytes {
        self.router.received("uplink").expect("the uplink is there")
    }

    /// What the registry was asked so far.
    pub fn accesses(&self) -> Vec<Access> {
        Access::all(&self.origin.out())
    }

    /// `layerkeeper notify … --follow` for all servers at once, from a machine on their LAN. It runs in the background until
    /// it is waited for.
    pub fn notify(&self, tag: &str) -> Command {
        let secret = self.servers[0].daemon.dir().join("secret");
        let mut command = self.router.command(binary());
        command.args(["--json", "notify", &format!("{ORIGIN}/acme/app:{tag}"), "--follow", "--secret-file"]);
        command.arg(secret);
        for server in &self.servers {
            command.args(["--url", &server.url]);
        }
        command
    }
}

impl Server {
    fn start(net: Net, address: &str, kind: EngineKind) -> Self {
        let args = vec!["--insecure-registry=10.77.0.0/16".to_owned()];
        let options = EngineOptions { args, net: Some(net.path().to_owned()), ..EngineOptions::default() };
        let engine = Engine::with(kind, &options).expect("an engine");
        let rest = format!(
            "[disk]\nmin_free = \"1 MB\"\n[registry]\ninsecure = [\"{ORIGIN}\"]\n[[runtime]]\nrepository = \"{ORIGIN}/acme/app\"\n\
             prune_tags = [\"sha-*\"]\n[[mirror]]\nregistry = \"{ORIGIN}\"\nendpoints = [\"http://{CACHE}\"]\ncache = true\n"
        );
        let daemon = Daemon::within(&net, address, &engine.host(), &rest);
        let url = format!("http://{address}:{}", daemon.webhook);
        Self { daemon, url, engine, _net: net }
    }

    /// The record of its last job.
    pub fn last(&self) -> Value {
        let output = self.daemon.cli(&["--json", "history"]);
        let told: Value = serde_json::from_slice(&output.stdout).expect("history is JSON");
        told[0].clone()
    }

    /// Does its engine have this tag?
    pub fn has(&self, tag: &str) -> bool {
        self.engine.run_docker(["image", "inspect", &format!("{ORIGIN}/acme/app:{tag}")]).is_ok()
    }
}

/// Starts a registry, and waits until it answers.
fn registry(name: &str, config: &str, net: &Net, address: &str, scratch: &Scratch) -> Process {
    let path = scratch.path().join(format!("{name}.yml"));
    fs::write(&path, config).expect("the configuration is written");
    let program = Program::new(name, "docker-registry").arg("serve").arg(&path).within(net.path());
    let process = program.start(scratch).expect("the registry starts");
    eventually_blocking(Duration::from_secs(20), || answers(net, address, &path).map_err(|why| why + &process.tail()));
    process
}

fn answers(net: &Net, address: &str, config: &Path) -> Result<(), String> {
    let args = ["--silent", "--show-error", "--fail", "--noproxy", "*", &format!("http://{address}/v2/")];
    match net.command("curl").args(args).output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        other => Err(format!("{}: {other:?}\n", config.display())),
    }
}
