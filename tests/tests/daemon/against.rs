//! `plan NEW --against OLD` needs no daemon: what it says is what then moves to a server that has OLD alone.

use layerkeeper_core::{Bytes, StoreKind};
use layerkeeper_testkit::{Agent, Auth, Engines, Image, Layer, Pushed, Registry};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

use crate::cli::says;
use crate::runtimes;

/// Three layers, bottom first; a layer by its number.
fn image(number: u64, layers: [u64; 3]) -> Image {
    let made = ["ADD os.tar /", "RUN apt-get update", "COPY . /app"];
    let sizes = [90_000, 200_000, 50_000];
    layers.iter().zip(made).zip(sizes).fold(Image::new(), |image, ((n, made), size)| {
        image.layer(Layer::random(6800 + 10 * number + n, Bytes(size)).unwrap().created_by(made))
    })
}

fn against(daemon: &Daemon, new: &Pushed, old: &Pushed, store: &str) -> Value {
    let (new, old) = (new.reference(), old.reference());
    let args = ["--json", "plan", &new, "--against", &old, "--store", store];
    let told: Value = serde_json::from_str(&says(daemon, &args, 0, &[])).unwrap();
    assert_eq!(told["estimate"]["compared_with"], old, "{told}");
    told
}

#[test]
fn what_a_build_is_said_to_move_to_a_server_that_has_the_last_one_is_what_moves_there() {
    for (number, engine) in (1..).zip(Engines::all()) {
        let registry = Registry::start(Auth::Open).unwrap();
        let push = |layers, tag: &str| image(number, layers).push(&registry, &format!("acme/app:{tag}")).unwrap();
        // the next one has another layer in the middle, and the last one another base, too; all have the same code on top
        let builds = [push([1, 2, 5], "sha-1"), push([1, 3, 5], "sha-2"), push([4, 6, 5], "sha-3")];
        let daemon = Daemon::up(&engine.host(), &runtimes(&registry.host(), &["app"]));
        says(&daemon, &["deploy", &builds[0].reference(), "--follow"], 0, &["succeeded"]);
        let store = match engine.kind().store() {
            StoreKind::Graphdriver => "overlay2",
            StoreKind::Containerd => "containerd",
        };
        for (old, new, first) in [(&builds[0], &builds[1], 1), (&builds[1], &builds[2], 0)] {
            let told = against(&daemon, new, old, store);
            let estimate = &told["estimate"];
            assert_eq!(estimate["layers"][first]["causes"][0]["cause"], "differs", "{told}");
            let mark = registry.mark();
            says(&daemon, &["deploy", &new.reference(), "--follow"], 0, &["succeeded"]);
            let moved = registry.bytes_of_layers(mark, &new.layer_digests(), Agent::Engine);
            assert_eq!(estimate["fetch_bytes_most"], moved.0, "{:?}: {told}", engine.kind());
            assert_eq!(estimate["fetch_bytes_least"], moved.0, "{:?}: {told}", engine.kind());
            // the same code is reused on the containerd store alone
            let code = if store == "containerd" { Bytes(0) } else { new.layers[2].size };
            assert_eq!(moved, new.layers[first..2].iter().map(|layer| layer.size).sum::<Bytes>() + code);
        }
    }
}
