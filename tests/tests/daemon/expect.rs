//! `expect` from the file to what people read: an image that lost its package is not called kept, and all say why.

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, EngineKind, Engines, Image, Layer, Pushed, Registry, Scratch};
use layerkeeper_tests::daemon::Daemon;

use crate::cli::says;

const READING: &str = "io.layerkeeper.reading";

fn cuda(registry: &Registry, seed: u64, package: &str, version: &str) -> Pushed {
    let status = format!("Package: {package}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n");
    let dpkg = Layer::files([("var/lib/dpkg/status", status)]).unwrap();
    let layer = Layer::random(6970 + seed, Bytes(40_000)).unwrap();
    Image::new()
        .label("vendor", "acme")
        .label(READING, "doctor")
        .layer(layer)
        .layer(dpkg)
        .push(registry, "acme/expected:12.1")
        .unwrap()
}

#[test]
fn an_image_that_lost_its_package_is_told_by_status_page_metrics_doctor_and_history() {
    let registry = Registry::start(Auth::Open).unwrap();
    let good = cuda(&registry, 1, "libcudnn8", "8.9.0.131-1+cuda12.1");
    let name = good.name.to_string();
    let engine = Engines::of(EngineKind::C);
    let expect = "expect = [\n  { package = \"libcudnn8\", version = \"8.9.*\" }, # PyTorch needs it\n  \
                  { label = \"vendor\", value = \"acme\" },\n]";
    let daemon = Daemon::up(&engine.host(), &format!("[[keep]]\nimage = \"{name}\"\n{expect}\n"));
    says(&daemon, &["prewarm", &name, "--follow"], 0, &[&name]);
    let root = Scratch::new("expect").unwrap();
    let doctor = || {
        let told = daemon.cli(&["doctor", "--root", &root.path().display().to_string()]);
        String::from_utf8(told.stdout).unwrap()
    };
    assert!(doctor().contains(&format!("{name} is here as")), "{}", doctor());

    let bad = cuda(&registry, 2, "libcudnn9", "9.1.0-1");
    let lost = "package libcudnn8 (wanted: 8.9.*) is not installed";
    says(&daemon, &["prewarm", &name, "--follow"], 1, &[lost]);
    let kept = daemon.json("/v1/status")["kept"][0].clone();
    assert_eq!((&kept["present"], &kept["digest"]), (&true.into(), &good.digest.to_string().into()), "{kept}");
    assert_eq!((&kept["unmet"][0], &kept["unmet_digest"]), (&lost.into(), &bad.digest.to_string().into()), "{kept}");
    let status = says(&daemon, &["status"], 0, &[]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(status.contains(&format!("{} is not as expected: {lost}", bad.digest.short())), "{status}");
    says(&daemon, &["history", &name], 0, &[lost]);
    for (path, words) in [("/", lost), ("/metrics", "layerkeeper_kept_image_unmet_expectations")] {
        let text = daemon.local().get(path).unwrap().text();
        assert!(text.contains(words), "{path}: {text}");
    }
    let told = doctor();
    assert!(told.contains("did not come in") && told.contains(lost), "{told}");
    assert!(daemon.log().contains("is not called kept"), "{}", daemon.log());
    let label = format!("label={READING}");
    let ours = engine.run_docker(["ps", "-aq", "--filter", &label]).unwrap();
    assert!(ours.is_empty(), "nothing is left that an image was read by: {ours}");

    // its image hands a label on to it that is like that of a doctor's
    let theirs = engine.run_docker(["create", "--pull=never", &name]).unwrap();
    assert!(doctor().contains("did not come in"));
    let still = engine.run_docker(["ps", "-aq", "--no-trunc", "--filter", &label]).unwrap();
    assert!(still.contains(theirs.trim()), "{still}");
    engine.run_docker(["rm", theirs.trim()]).unwrap();
}
