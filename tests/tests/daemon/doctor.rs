//! `layerkeeper doctor` on hosts that are well and on hosts that are not: real engines and registries, a tree of files in
//! place of the host's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use layerkeeper_core::{Bytes, Digest};
use layerkeeper_testkit::docker_config::DockerConfig;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Layer, Proxy, Registry, Scratch, free_port};
use layerkeeper_tests::daemon::{Daemon, binary};
use serde_json::Value;

use crate::runtimes;

const PASSWORD: &str = "correct-horse-battery-staple";

/// Files in place of the host's own, none at first.
struct Tree(Scratch);

impl Tree {
    fn new() -> Self {
        Self(Scratch::new("doctor").unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// What the doctor says: exit code and findings.
fn ask(config: &Path, tree: &Tree) -> (Option<i32>, Vec<Value>) {
    ask_at(config, &tree.path())
}

fn ask_at(config: &Path, root: &Path) -> (Option<i32>, Vec<Value>) {
    ask_from(config, root, None)
}

/// With another home.
fn ask_from(config: &Path, root: &Path, home: Option<&Path>) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(binary());
    command.args(["--json", "--config"]).arg(config).arg("doctor").arg("--root").arg(root);
    command.envs(home.map(|home| ("HOME", home)));
    let output = command.env_remove("DOCKER_HOST").env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(PASSWORD), "{text}");
    let told: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), told["findings"].as_array().unwrap().clone())
}

/// The findings of this kind, each as level and sentence.
fn of<'a>(found: &'a [Value], id: &str) -> Vec<(&'a str, &'a str)> {
    let these = found.iter().filter(|finding| finding["id"] == id);
    these.map(|finding| (finding["level"].as_str().unwrap(), finding["what"].as_str().unwrap())).collect()
}

#[track_caller]
fn has(found: &[Value], id: &str, level: &str, words: &str) {
    let these = of(found, id);
    assert!(these.iter().any(|(is, what)| *is == level && what.contains(words)), "{id} {level} {words:?}: {found:#?}");
}

fn push(registry: &Registry, seed: u64, name: &str) -> layerkeeper_testkit::Pushed {
    let layer = Layer::random(6800 + seed, Bytes(40_000)).unwrap();
    Image::new().layer(layer).push(registry, name).unwrap()
}

/// A configuration without a daemon.
fn configured(tree: &Tree, engine: &str, rest: &str) -> PathBuf {
    let dir = tree.0.path().display();
    let text = format!(
        "[engine]\nhost = \"{engine}\"\n[listen]\ncontrol = \"{dir}/none.sock\"\n[state]\ndir = \"{dir}/state\"\n{rest}"
    );
    let file = tree.0.path().join("layerkeeper.toml");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_host_that_is_well_has_nothing_worse_than_a_note_and_the_daemon_may_be_asked() {
    let registry = Registry::start(Auth::Open).unwrap();
    let kept = push(&registry, 1, "acme/doctored:1").name.to_string();
    let engine = Engines::of(EngineKind::A);
    let rest = format!("{}[[keep]]\nimage = \"{kept}\"\n", runtimes(&registry.host(), &["app"]));
    let mut daemon = Daemon::up(&engine.host(), &rest);
    assert!(daemon.cli(&["status", "--wait-idle"]).status.success());
    let tree = Tree::new();
    let mark = registry.mark();
    let (code, found) = ask(daemon.config(), &tree);
    assert_eq!(code, Some(0), "{found:#?}");
    has(&found, "engine.ok", "ok", "Docker Engine 20.10");
    has(&found, "daemon.ok", "ok", "runs, started");
    has(&found, "registry.ok", "ok", &registry.host());
    has(&found, "clock.ok", "ok", &registry.host());
    has(&found, "kept.ok", "ok", &kept);
    has(&found, "disk.ok", "ok", &engine.data_root().display().to_string());
    has(&found, "cleaner.none", "ok", "");
    has(&found, "unit.unknown", "note", "");
    assert!(of(&found, "host.live_restore").len() == 1 && of(&found, "host.unpigz").len() == 1, "{found:#?}");
    assert!(registry.accesses(mark).iter().all(|access| matches!(access.method.as_str(), "GET" | "HEAD")));

    // on the host's own files the engine's own process is looked at
    let (_, own) = ask_at(daemon.config(), Path::new("/"));
    let unpigz = of(&own, "host.unpigz")[0].1;
    assert!(unpigz.contains("unpacks with") || unpigz.contains("the engine's PATH (/usr/local/sbin:"), "{unpigz}");

    // for people it is the same
    let text = daemon.cli(&["doctor", "--root", &tree.path().display().to_string()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("Kept images\n  ok  ") && text.trim_end().ends_with("notes."), "{text}");

    daemon.kill9();
    let (code, found) = ask(daemon.config(), &tree);
    assert_eq!(code, Some(1));
    has(&found, "daemon.down", "warning", "no daemon answers");
    has(&found, "kept.ok", "ok", &kept);
}

#[test]
fn the_path_to_a_registry_and_its_mirrors_is_measured_and_says_what_auto_would_do() {
    let registry = Registry::start(Auth::Open).unwrap();
    let slow = Proxy::start(&registry.host()).unwrap();
    slow.throttle_each(Some(Bytes(1_000_000)));
    let image = Image::new().layer(Layer::random(7100, Bytes(5_000_000)).unwrap());
    image.push(&registry, "acme/far:1").unwrap();
    let tree = Tree::new();
    let (origin, dead) = (slow.host(), format!("127.0.0.1:{}", free_port().unwrap()));
    let path = |rest: &str| {
        let rest = format!("[[keep]]\nimage = \"{origin}/acme/far:1\"\n{rest}");
        let config = configured(&tree, &Engines::of(EngineKind::A).host(), &rest);
        ask(&config, &tree).1
    };
    let found = path("");
    has(&found, "path.ok", "ok", "auto takes the relay");
    let mirrors = format!("\"{}\", \"{dead}\"", registry.host());
    let found =
        path(&format!("[[mirror]]\nregistry = \"{origin}\"\nendpoints = [{mirrors}]\n[pull]\ntransfer = \"engine\"\n"));
    has(&found, "path.engine", "note", "one connection gives");
    has(&found, "path.mirror", "ok", &registry.host());
    has(&found, "path.mirror", "warning", &dead);
}

#[test]
fn without_the_engine_the_rest_is_looked_at_and_a_bad_configuration_exits_with_2() {
    let registry = Registry::start(Auth::Open).unwrap();
    let kept = push(&registry, 2, "acme/alone:1").name.to_string();
    let tree = Tree::new();
    tree.write("etc/cron.d/cleanup", "0 3 * * * root docker image prune -af\n");
    let config = configured(&tree, "unix:///no/such/docker.sock", &format!("[[keep]]\nimage = \"{kept}\"\n"));
    let (code, found) = ask(&config, &tree);
    assert_eq!(code, Some(1));
    has(&found, "engine.unreachable", "problem", "unix:///no/such/docker.sock");
    has(&found, "registry.ok", "ok", &registry.host());
    has(&found, "kept.ok", "ok", "was not looked at");
    has(&found, "cleaner.cron", "warning", "/etc/cron.d/cleanup:1 runs `docker image prune -af` every day at 03:00");

    fs::write(&config, "[disk]\nmin_fre = 1\n").unwrap();
    let output = Command::new(binary()).arg("--config").arg(&config).arg("doctor").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn wrong_credentials_are_told_without_them_and_the_units_own_file_is_the_one_that_counts() {
    let auth = Auth::Htpasswd { user: "deploy".into(), password: PASSWORD.into() };
    let registry = Registry::start(auth).unwrap();
    let kept = push(&registry, 3, "acme/locked:1").name.to_string();
    let tree = Tree::new();
    let config = configured(&tree, &Engines::of(EngineKind::A).host(), &format!("[[keep]]\nimage = \"{kept}\"\n"));
    tree.write("etc/layerkeeper/docker-config.json", "{}");
    let file = tree.path().join("etc/layerkeeper/docker-config.json");
    let (code, found) = ask(&config, &tree);
    assert_eq!(code, Some(1));
    has(&found, "registry.refused", "problem", "without credentials");
    has(&found, "kept.unresolvable", "problem", &kept);
    has(&found, "clock.ok", "ok", &registry.host());

    DockerConfig::new().auth(&registry.host(), "deploy", "wrong-horse").write(&file).unwrap();
    let (_, found) = ask(&config, &tree);
    has(&found, "registry.refused", "problem", "as user \"deploy\"");
    assert!(found.iter().all(|finding| !finding.to_string().contains("wrong-horse")), "{found:#?}");

    DockerConfig::new().auth(&registry.host(), "deploy", PASSWORD).write(&file).unwrap();
    let (_, found) = ask(&config, &tree);
    has(&found, "registry.ok", "ok", &format!("as user \"deploy\" (from {})", file.display()));
    has(&found, "kept.absent", "warning", &kept);
}

/// Runs the command that is to mend a finding, as it is printed but for three things: it works in a folder of the test's, asks
/// for no password, and there is no service here to restart.
#[track_caller]
fn mend(found: &[Value], id: &str, tree: &Tree, engine: &Engine) {
    let finding = found.iter().find(|finding| finding["id"] == id);
    let mend = finding.and_then(|finding| finding["mend"].as_str()).unwrap_or_else(|| panic!("{id}: {found:#?}"));
    let restart = "sudo systemctl restart layerkeeper";
    assert!(mend.contains(restart) && mend.contains("/root/.layerkeeper-login"), "{mend}");
    let login = tree.0.path().join("login");
    let command = mend
        .replace(restart, "true")
        .replace("/root/.layerkeeper-login", &login.display().to_string())
        .replace(" login ", " login --username deploy --password-stdin ")
        .replace("sudo ", "");
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("printf %s \"$PASSWORD\" | {{\n{command}\n}}")]);
    shell.env("PASSWORD", PASSWORD).env("DOCKER_HOST", engine.host());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(!login.exists(), "no copy of the login stays behind: {command}");
}

#[test]
fn a_login_at_home_is_not_the_units_and_the_advice_makes_one_and_keeps_those_for_others() {
    let auth = Auth::Htpasswd { user: "deploy".into(), password: PASSWORD.into() };
    let registry = Registry::start(auth).unwrap();
    let kept = push(&registry, 6, "acme/sealed:1").name.to_string();
    let engine = Engines::of(EngineKind::A);
    let tree = Tree::new();
    let config = configured(&tree, &engine.host(), &format!("[[keep]]\nimage = \"{kept}\"\n"));
    let home = tree.0.path().join("home");
    fs::create_dir_all(home.join(".docker")).unwrap();
    let right = DockerConfig::new().auth(&registry.host(), "deploy", PASSWORD);
    right.write(&home.join(".docker/config.json")).unwrap();
    let ask = || ask_from(&config, &tree.path(), Some(&home)).1;
    has(&ask(), "registry.ok", "ok", "as user \"deploy\"");

    // the unit hides every home from the daemon
    tree.write("usr/local/lib/systemd/system/layerkeeper.service", "");
    let file = tree.path().join("etc/layerkeeper/docker-config.json");
    let found = ask();
    has(&found, "registry.refused", "problem", &format!("without credentials (there is no {})", file.display()));
    mend(&found, "registry.refused", &tree, engine);
    has(&ask(), "registry.ok", "ok", &format!("as user \"deploy\" (from {})", file.display()));

    // a file that has logins, but not this one
    DockerConfig::new().auth("ghcr.io", "somebody", "else").write(&file).unwrap();
    let found = ask();
    has(&found, "registry.refused", "problem", "has no entry for it");
    mend(&found, "registry.refused", &tree, engine);
    has(&ask(), "registry.ok", "ok", "as user \"deploy\"");
    assert!(fs::read_to_string(&file).unwrap().contains("ghcr.io"), "the other login stays");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // a file that is broken
    fs::write(&file, "{").unwrap();
    mend(&ask(), "registry.credentials", &tree, engine);
    has(&ask(), "registry.ok", "ok", "as user \"deploy\"");
    assert_eq!(fs::read_to_string(file.with_file_name("docker-config.json~")).unwrap(), "{");
}

#[test]
fn what_the_unit_has_from_its_environment_file_the_doctor_has_too() {
    let tree = Tree::new();
    tree.write("etc/default/layerkeeper", "DOCKER_HOST=\"unix:///no/such/place.sock\"\n");
    let (_, found) = ask(&configured(&tree, &Engines::of(EngineKind::A).host(), ""), &tree);
    has(&found, "engine.unreachable", "problem", "unix:///no/such/place.sock");
}

#[test]
fn a_pin_that_is_gone_and_a_build_cache_in_place_of_an_image_are_told() {
    let registry = Registry::start(Auth::Open).unwrap();
    let moved = push(&registry, 4, "acme/pinned:1").name.to_string();
    let gone = Digest::of(b"was never pushed");
    let cache = format!("{}/acme/cache:1", registry.host());
    let layers = [Layer::random(6805, Bytes(10_000)).unwrap()];
    layerkeeper_testkit::BuildCache::Manifest.push(&registry, "acme/cache:1", &layers).unwrap();
    let tree = Tree::new();
    let rest = format!("[[keep]]\nimage = \"{moved}\"\ndigest = \"{gone}\"\n[[keep]]\nimage = \"{cache}\"\n");
    let (code, found) = ask(&configured(&tree, &Engines::of(EngineKind::A).host(), &rest), &tree);
    assert_eq!(code, Some(1));
    has(&found, "kept.pin_gone", "problem", &gone.short());
    has(&found, "kept.absent", "warning", &moved);
    has(&found, "kept.unfit", "problem", "this is a build cache");
}

#[test]
fn what_a_cleaner_is_said_to_take_is_what_it_takes() {
    std::thread::scope(|scope| {
        for (number, kind) in EngineKind::ALL.into_iter().enumerate() {
            scope.spawn(move || said_and_done(&Engine::start(kind).unwrap(), number as u64));
        }
    });
}

/// On an engine of its own, for it is cleaned indeed.
fn said_and_done(engine: &Engine, number: u64) {
    let registry = Registry::start(Auth::Open).unwrap();
    let image = |seed: u64, name: &str| push(&registry, 100 + 10 * number + seed, name);
    let base = image(1, "acme/base:1").name.to_string();
    let (one, two) = (image(2, "acme/app:sha-1").name.to_string(), image(3, "acme/app:sha-2").name.to_string());
    let loose = image(4, "acme/other:1").by_digest().to_string();
    let rest = format!("[[keep]]\nimage = \"{base}\"\n{}", runtimes(&registry.host(), &["app"]));
    let tree = Tree::new();
    let config = configured(&tree, &engine.host(), &rest.replace("[disk]\nmin_free = \"1 MB\"\n", ""));
    let here = |name: &str| engine.run_docker(["image", "inspect", name]).is_ok();
    for command in ["docker image prune -f", "docker image prune -af", "docker system prune -af"] {
        for name in [&base, &one, &two, &loose] {
            engine.run_docker(["pull", name]).unwrap();
        }
        // it holds its image against `image prune`, and `system prune` takes it before
        let _ = engine.run_docker(["rm", "app"]);
        engine.run_docker(["create", "--network", "none", "--name", "app", &two]).unwrap();
        tree.write("etc/cron.d/cleanup", &format!("0 3 * * * root {command}\n"));
        let (_, found) = ask(&config, &tree);
        let (level, what) = of(&found, "cleaner.cron")[0];
        engine.run_docker(command.split(' ').skip(1)).unwrap();
        for name in [&base, &one, &two] {
            assert_eq!(!here(name), what.contains(name.as_str()), "{name}: {what}, {:?}", engine.kind());
        }
        let others = what.contains("1 image:") || what.contains("1 other image:");
        assert_eq!(!here(&loose), others, "{loose}: {what}, {:?}", engine.kind());
        assert_eq!(level == "problem", !here(&base), "{what}");
    }
}
