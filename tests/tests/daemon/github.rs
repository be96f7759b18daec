//! CI's side of a deploy: what `layerkeeper notify --follow` leaves in a step of GitHub Actions, and a deploy over its limit.

use std::fs;
use std::process::{Command, Output};

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Registry, Scratch};
use layerkeeper_tests::daemon::{Daemon, binary};

use crate::runtimes;

struct Step {
    scratch: Scratch,
}

impl Step {
    /// Runs `notify --follow` as a step does; its exit code and what it printed.
    fn notify(&self, daemon: &Daemon, image: &str, more: &[&str]) -> (Option<i32>, String) {
        let (code, stdout, stderr) = self.notify_all(&[&daemon.webhook_url()], daemon, image, more);
        (code, stdout + &stderr)
    }

    /// The same for many servers, with the secret of this daemon; both streams apart.
    fn notify_all(&self, urls: &[&str], daemon: &Daemon, image: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let secret = daemon.dir().join("secret").display().to_string();
        let mut command = Command::new(binary());
        command.args(["notify", image, "--follow", "--secret-file", &secret]).args(more);
        command.args(urls.iter().flat_map(|url| ["--url", url]));
        command.env("GITHUB_STEP_SUMMARY", self.scratch.path().join("summary"));
        command.env("GITHUB_OUTPUT", self.scratch.path().join("output"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code(), text(&stdout), text(&stderr))
    }

    /// What the step left since it was last asked.
    fn left(&self, name: &str) -> String {
        let file = self.scratch.path().join(name);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text
    }
}

#[test]
fn a_step_shows_the_table_and_hands_on_the_bytes_and_a_deploy_over_its_limit_needs_the_word() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = |seed: u64, size| Layer::random(6900 + seed, Bytes(size)).unwrap();
    let base = Image::new().layer(layer(1, 60_000));
    let push = |image: &Image, tag: &str| image.push(&registry, &format!("acme/app:{tag}")).unwrap();
    let first = push(&Image::from(&base).layer(layer(2, 30_000)), "sha-1");
    let second = push(&Image::from(&base).layer(layer(3, 900_000).created_by("COPY secret-path /app")), "sha-2");
    let rest =
        format!("{}download_budget = \"200 kB\"\ndownload_limit = \"200 kB\"\n", runtimes(&registry.host(), &["app"]));
    let daemon = Daemon::up(&Engines::of(EngineKind::A).host(), &rest);
    let step = Step { scratch: Scratch::new("step").unwrap() };

    let (code, told) = step.notify(&daemon, &first.name.to_string(), &[]);
    assert_eq!(code, Some(0), "{told}");
    let bytes = first.layer_bytes();
    assert_eq!(step.left("output"), format!("bytes_downloaded={}\nbytes_reused=0\nreuse_ratio=0.0000\n", bytes.0));
    let summary = step.left("summary");
    assert!(summary.starts_with(&format!("### ✅ `{}`: succeeded", first.name)), "{summary}");
    for part in [&format!("| {bytes} | 0 B |"), "Within budget", &first.layers[1].blob.short()] {
        assert!(summary.contains(part), "{part}: {summary}");
    }

    let (code, told) = step.notify(&daemon, &second.name.to_string(), &[]);
    assert_eq!(code, Some(4), "{told}");
    let summary = step.left("summary");
    for part in ["refused", "over_limit", "more than the download_limit of 200 kB"] {
        assert!(summary.contains(part) && told.contains(part), "{part}: {summary}\n{told}");
    }
    assert!(!summary.contains("secret-path"), "the sender learns no instruction: {summary}");
    assert_eq!(step.left("output"), "bytes_downloaded=0\nbytes_reused=0\nreuse_ratio=1.0000\n");

    let (code, told) = step.notify(&daemon, &second.name.to_string(), &["--override", "budget"]);
    assert_eq!(code, Some(0), "{told}");
    let (moved, here) = (second.layers[1].size.0, second.layers[0].size.0);
    let output = step.left("output");
    assert!(output.starts_with(&format!("bytes_downloaded={moved}\nbytes_reused={here}\n")), "{output}");
    assert!(step.left("summary").contains("**Over budget**"));

    let (code, told) = step.notify(&daemon, &second.name.to_string(), &["--override", "disk"]);
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn many_servers_are_told_at_once_and_what_goes_wrong_with_one_keeps_no_other_from_it() {
    let registry = Registry::start(Auth::Open).unwrap();
    let layer = Layer::random(6950, Bytes(70_000)).unwrap();
    let pushed = Image::new().layer(layer).push(&registry, "acme/fleet:sha-1").unwrap();
    let image = pushed.name.to_string();
    let daemon = |kind, name: &str| Daemon::up(&Engines::of(kind).host(), &runtimes(&registry.host(), &[name]));
    let (one, two) = (daemon(EngineKind::A, "fleet"), daemon(EngineKind::B, "fleet"));
    let other = daemon(EngineKind::A, "other");
    let (first, second, third) = (one.webhook_url(), two.webhook_url(), other.webhook_url());
    let step = Step { scratch: Scratch::new("step").unwrap() };

    // one in an argument of its own, two in a variable
    let both = format!("{second}/v1/deploys\n {third}/");
    let (code, stdout, stderr) = step.notify_all(&[&first, &both], &one, &image, &["--json"]);
    assert_eq!(code, Some(4), "{stdout}{stderr}");
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let of = |at: usize| (told[at]["url"].as_str(), told[at]["exit_code"].as_u64(), told[at]["state"].as_str());
    assert_eq!(of(0), (Some(&*first), Some(0), Some("succeeded")), "{told:#}");
    assert_eq!(of(1), (Some(&*second), Some(0), Some("succeeded")), "{told:#}");
    assert_eq!(of(2), (Some(&*third), Some(4), Some("refused")), "{told:#}");
    assert_eq!(told[0]["job"]["image"], image, "{told:#}");
    assert!(told[2]["job"].is_null() && told[2]["error"].as_str().unwrap().starts_with("refused: "), "{told:#}");
    for url in [&first, &second] {
        assert!(stderr.contains(&format!("{url}: succeeded\n")), "{stderr}");
    }
    let bytes = 2 * pushed.layer_bytes().0;
    let sums = format!("bytes_downloaded={bytes}\nbytes_reused=0\nreuse_ratio=0.0000\nservers=3\nservers_done=2\n");
    assert_eq!(step.left("output"), sums);
    let summary = step.left("summary");
    assert!(summary.starts_with(&format!("### ❌ `{image}`: 2 of 3 servers\n")), "{summary}");

    let (code, stdout, _) = step.notify_all(&[&first, &second], &one, &image, &[]);
    assert!(code == Some(0) && stdout.ends_with("2 of 2 servers done.\n"), "{stdout}");
    assert!(stdout.contains(&format!("{first}: succeeded\n{image}: succeeded\n")), "{stdout}");

    for urls in [&[&*first, &*first][..], &[" "], &[&*first, "deploy.example.com"]] {
        let (code, stdout, stderr) = step.notify_all(urls, &one, &image, &[]);
        assert_eq!(code, Some(2), "{urls:?}: {stdout}{stderr}");
    }
}
