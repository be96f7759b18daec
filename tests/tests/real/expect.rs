//! What is expected of a kept image's content, on real engines.

use std::time::Duration;

use layerkeeper_core::{Bytes, Expect, JobState};
use layerkeeper_engine::Engine as _;
use layerkeeper_keeper::status::KeptStatus;
use layerkeeper_store::JobRow;
use layerkeeper_testkit::{Agent, Auth, Image, Layer, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libcudnn.so.8";

/// A base image as Debian makes them: dpkg's database, a library behind two links, a label.
fn base(test: u64, engine: u64, version: &str, library: bool) -> Image {
    let status = format!(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.35-0\n\n\
         Package: libcudnn8\nStatus: hold ok installed\nArchitecture: amd64\nVersion: {version}\n"
    );
    let mut files = vec![("var/lib/dpkg/status", status.as_str()), ("etc/os-release", "ID=ubuntu")];
    let mut links = vec![("lib".to_owned(), "usr/lib".to_owned())];
    if library {
        files.push(("usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.0", "elf"));
        links.push((LIBRARY.to_owned(), "/lib/x86_64-linux-gnu/libcudnn.so.8.9.0".to_owned()));
    }
    let large = layer(test, engine, u64::from(library), Bytes(300_000));
    Image::new().label("vendor", "acme").layer(large).layer(Layer::tree(files, &links).unwrap())
}

fn cudnn() -> Vec<Expect> {
    vec![
        Expect::Package { name: "libcudnn8".to_owned(), version: Some("8.9.*".to_owned()) },
        Expect::File { path: LIBRARY.to_owned() },
        Expect::Label { name: "vendor".to_owned(), value: Some("acme".to_owned()) },
    ]
}

async fn refresh(host: &Host) -> (JobRow, KeptStatus) {
    let row = host.prewarm().await.remove(0);
    (row, host.keeper.status().await.kept.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_lost_its_library_does_not_get_the_name_and_the_last_good_one_comes_back() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let good = base(95, number, "8.9.0.131-1+cuda12.1", true).push(&registry, "acme/base:1").unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| {
            policy.keep.truncate(1);
            policy.keep[0].expect = cudnn();
        })
        .await;
        let (row, kept) = refresh(&host).await;
        assert_eq!((row.job.state, kept.present, kept.unmet), (JobState::Succeeded, true, vec![]), "{:?}", row.outcome);

        let bad = base(95, number, "9.1.0-1", false).push(&registry, "acme/base:1").unwrap();
        let (row, kept) = refresh(&host).await;
        assert_eq!((row.job.state, row.outcome.error.unwrap().class.as_str()), (JobState::Failed, "unmet"));
        assert_eq!(
            kept.unmet,
            [
                "package libcudnn8 (wanted: 8.9.*) has version 9.1.0-1".to_owned(),
                format!("file {LIBRARY} is not there"),
            ]
        );
        assert_eq!((kept.present, kept.unmet_digest), (true, Some(bad.digest.to_string())));
        let here = host.here("base:1").await.unwrap();
        assert!(here.has_digest(&good.name.repository, good.digest), "{here:?}");
        assert!(
            host.engine.containers().await.unwrap().is_empty() && engine.run_docker(["ps", "-aq"]).unwrap().is_empty()
        );

        let mark = registry.mark();
        let (row, _) = refresh(&host).await;
        assert_eq!(row.job.state, JobState::Failed);
        let moved = registry.bytes_of_layers(mark, &bad.layer_digests(), Agent::Engine);
        assert_eq!(moved, Bytes(0), "what failed once is not brought again");

        // somebody takes it away: the registry's tag shows the bad one, and the good one comes back by its digest
        engine.run_docker(["rmi", &good.name.to_string()]).unwrap();
        let back = || async {
            let here = host.here("base:1").await?;
            here.has_digest(&good.name.repository, good.digest).then_some(())
        };
        eventually(Duration::from_secs(60), back).await;

        let mended = base(95, number, "8.9.7.29-1+cuda12.2", true).push(&registry, "acme/base:1").unwrap();
        let (row, kept) = refresh(&host).await;
        assert_eq!((row.job.state, kept.unmet), (JobState::Succeeded, vec![]), "{:?}", row.outcome);
        let here = host.here("base:1").await.unwrap();
        assert!(here.has_digest(&good.name.repository, mended.digest), "{here:?}");
    })
    .await;
}
