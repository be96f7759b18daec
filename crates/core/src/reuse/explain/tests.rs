//! Each cause on a server made for it, and on no other.

mod compared;

use super::*;
use crate::layers::{Holdings, Origin};
use crate::manifest::{Compression, Descriptor, Platform};
use crate::plan::NameHistory;
use crate::reuse::estimate;
use crate::testing::{Host, NOW, days, diff, digest, name};

/// A layer by a word: its content; behind a colon how else it was compressed; behind a `<` what made it.
fn layer(text: &str) -> ManifestLayer {
    let (text, made) = text.split_once('<').map_or((text, None), |(text, made)| (text, Some(made.to_owned())));
    let (content, how) = text.split_once(':').unwrap_or((text, ""));
    ManifestLayer {
        blob: Descriptor { digest: digest(&format!("{content}{how}")), size: Bytes(100) },
        compression: if how == "zstd" { Compression::Zstd } else { Compression::Gzip },
        diff_id: diff(content),
        created_by: made,
    }
}

fn manifest(layers: &[&str]) -> ImageManifest {
    let descriptor = Descriptor { digest: digest(&layers.concat()), size: Bytes(7) };
    ImageManifest {
        resolved: descriptor.digest,
        manifest: descriptor.clone(),
        config: descriptor,
        index_size: None,
        platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        layers: layers.iter().map(|text| layer(text)).collect(),
    }
}

/// A server, what the registry says of its images, and what was recorded.
struct Scenery {
    host: Host,
    described: BTreeMap<ImageId, ImageManifest>,
    records: Vec<LayerRecord>,
    lost: HashMap<DiffId, Lost>,
    repeats: HashMap<DiffId, Vec<Repeat>>,
}

fn server(store: StoreKind) -> Scenery {
    let mut host = Host::keeping(3);
    host.inventory.engine.store = store;
    let (described, records, lost, repeats) = Default::default();
    Scenery { host, described, records, lost, repeats }
}

impl Scenery {
    /// Loaded or built here.
    fn with_loaded(mut self, name: &str, layers: &[&str]) -> Self {
        self.host = self.host.named(name, name);
        self.host.image(name).layers = manifest(layers).diff_ids();
        self
    }

    /// Pulled.
    fn with(mut self, name: &str, layers: &[&str]) -> Self {
        self = self.with_loaded(name, layers);
        let image = manifest(layers);
        for (layer, chain) in image.layers.iter().zip(ChainId::of_stack(&image.diff_ids())) {
            let ManifestLayer { blob, diff_id, .. } = layer.clone();
            let origin = Origin::Downloaded;
            self.records.push(LayerRecord { chain, diff_id, blob: blob.digest, size: blob.size, origin });
        }
        self.described.insert(self.host.image(name).id, image);
        self
    }

    fn keeping(mut self, name: &str) -> Self {
        self.host = self.host.keep(name, None);
        self
    }

    /// Deployed as number `place` of all.
    fn deployed(mut self, of: &str, place: u64) -> Self {
        let at = NOW.minus(days(1));
        let record = NameHistory { place, deployed: Some((place, at)), first_seen: at, last_held: None };
        self.host = self.host.recorded(of, record);
        self
    }

    /// As `sha-next` of the application.
    fn explain(&self, wanted: &[&str]) -> Explanation {
        let next = name("sha-next").to_reference();
        let earlier = predecessor(&next, &self.host.inventory, &self.host.history);
        let manifest = manifest(wanted);
        let holdings = Holdings::new(&self.host.inventory, &self.records);
        let estimate = estimate(&manifest, &holdings);
        explain(&Evidence {
            manifest: &manifest,
            estimate: &estimate,
            inventory: &self.host.inventory,
            earlier: earlier.map(|image| image.id),
            records: &self.records,
            described: &self.described,
            lost: &self.lost,
            repeats: &self.repeats,
            policy: &self.host.policy,
        })
    }

    /// The causes as words, per layer.
    fn words(&self, wanted: &[&str]) -> Vec<String> {
        let causes = self.explain(wanted).causes;
        causes.iter().map(|causes| causes.iter().map(Cause::as_str).collect::<Vec<_>>().join(" + ")).collect()
    }

    /// What is said of one layer, and what to do.
    fn said(&self, wanted: &[&str], at: usize) -> (String, Option<String>) {
        let causes = &self.explain(wanted).causes[at];
        assert_eq!(causes.len(), 1, "{causes:?}");
        (causes[0].to_string(), causes[0].advice())
    }
}

const CLASSIC: StoreKind = StoreKind::Graphdriver;
const CONTAINERD: StoreKind = StoreKind::Containerd;

#[test]
fn nothing_is_said_of_layers_that_are_here() {
    for store in [CLASSIC, CONTAINERD] {
        let server = server(store).with("sha-1", &["os", "torch", "code1"]);
        assert_eq!(server.words(&["os", "torch", "code1"]), ["", "", ""]);
        assert_eq!(server.words(&["os", "torch", "code2"]), ["", "", "differs"]);
    }
}

#[test]
fn the_same_content_as_another_blob_is_other_compression_and_takes_what_lies_above_with_it() {
    let wanted = ["os:zstd", "torch", "code1"];
    let classic = server(CLASSIC).with("sha-1", &["os", "torch", "code1"]);
    assert_eq!(classic.words(&wanted), ["other compression", "above", "above"]);
    let (said, advice) = classic.said(&wanted, 0);
    let here = digest("os").short();
    assert_eq!(
        said,
        format!("the same content is here as another blob ({here}, gzip); this one is zstd, compressed anew")
    );
    assert!(advice.unwrap().contains("same compression"));
    assert_eq!(classic.said(&wanted, 1).0, "it stands above layer 1, which moves");
    // this store skips what it has unpacked, whatever the blob
    let containerd = server(CONTAINERD).with("sha-1", &["os", "torch", "code1"]);
    assert_eq!(containerd.words(&wanted), ["", "", ""]);
    assert_eq!(containerd.words(&["other", "torch:zstd"]), ["differs", "other compression"]);
    // an image of zstd came since, and of it this store took nothing that it had unpacked
    let mut since = containerd.with("sha-2", &["os", "torch:zstd", "code1"]);
    since.records.iter_mut().filter(|record| record.blob == digest("torchzstd")).for_each(|record| {
        record.origin = Origin::Reused;
    });
    let wanted = ["other", "torch:zstd"];
    assert_eq!(since.words(&wanted), ["differs", "other compression"]);
    let here = digest("torch").short();
    assert!(since.said(&wanted, 1).0.contains(&format!("as another blob ({here}, gzip); this one is zstd")));
}

#[test]
fn the_same_layer_on_others_is_at_another_position_on_the_classic_store_only() {
    let wanted = ["os2", "torch"];
    let with = |store| server(store).with("sha-1", &["os", "torch"]).with("ghcr.io/acme/python:1", &["os", "torch"]);
    let classic = with(CLASSIC).keeping("ghcr.io/acme/python:1");
    assert_eq!(classic.words(&wanted), ["differs", "other position"]);
    let (said, advice) = classic.said(&wanted, 1);
    assert_eq!(said, "the same layer is here in ghcr.io/acme/python:1, on top of other layers");
    assert!(advice.unwrap().contains("build FROM the image that has it (ghcr.io/acme/python:1)"));
    assert_eq!(with(CONTAINERD).keeping("ghcr.io/acme/python:1").words(&wanted), ["differs", ""]);
    // nobody builds on the last deploy
    assert_eq!(with(CLASSIC).words(&wanted), ["differs", "above"]);
    let on_top = server(CLASSIC).with("sha-1", &["os", "apt", "torch"]);
    assert_eq!(on_top.words(&["os", "torch"]), ["", "other position"]);
    assert_eq!(on_top.said(&["os", "torch"], 1).1, None);
}

#[test]
fn what_lies_above_a_layer_that_moves_moves_with_it_on_the_classic_store_only() {
    let with = |store| server(store).with("sha-1", &["os", "torch", "code1"]);
    let wanted = ["os", "torch2", "code2"];
    assert_eq!(with(CLASSIC).words(&wanted), ["", "differs", "above"]);
    assert_eq!(with(CLASSIC).said(&wanted, 2).0, "it stands above layer 2, which moves");
    // this store would have reused it anywhere
    assert_eq!(with(CONTAINERD).words(&wanted), ["", "differs", "never seen"]);
    assert_eq!(with(CONTAINERD).words(&["os", "torch2", "code1"]), ["", "differs", ""]);
}

#[test]
fn the_first_layer_that_differs_is_told_by_its_instruction_and_the_one_it_was_compared_with() {
    let server = server(CLASSIC).with("sha-1", &["os", "apt1<RUN apt-get update", "code1<COPY . /app"]);
    let again = ["os", "apt2<RUN apt-get update", "code1<COPY . /app"];
    assert_eq!(server.words(&again), ["", "differs", "above"]);
    let (said, advice) = server.said(&again, 1);
    assert_eq!(
        said,
        "the first layer that differs from ghcr.io/acme/app:sha-1: the same instruction made other content"
    );
    assert!(advice.unwrap().contains("package index"));
    let copied = ["os", "apt1<RUN apt-get update", "code2<COPY . /app"];
    assert!(server.said(&copied, 2).1.unwrap().contains("files that it copies have changed"));
    let other = ["os", "apt3<RUN apt-get install -y curl"];
    let (said, advice) = server.said(&other, 1);
    assert!(said.ends_with("where the instruction is: RUN apt-get update"), "{said}");
    assert!(advice.unwrap().contains("Dockerfile has changed"));
    assert_eq!(server.explain(&other).compared_with.as_deref(), Some("ghcr.io/acme/app:sha-1"));
}

#[test]
fn a_build_argument_that_changed_is_named_and_so_is_what_is_too_long_to_compare() {
    let server = server(CLASSIC)
        .with("sha-1", &["os", "a<RUN |2 PY=1 GIT_SHA=aaaa /bin/sh -c pip install torch # buildkit"])
        .with("sha-2", &["os2", "b</bin/sh -c #(nop) COPY dir:0123 in /app "])
        .with("sha-3", &["os3", "c<RUN a very long instruction…"]);
    let argument = ["os", "a2<RUN |2 PY=1 GIT_SHA=bbbb /bin/sh -c pip install torch # buildkit"];
    let (said, advice) = server.said(&argument, 1);
    assert!(said.ends_with("the same instruction with another value of the build argument GIT_SHA"), "{said}");
    assert!(advice.unwrap().starts_with("declare ARG GIT_SHA below this instruction"));
    let gone = ["os", "a3<RUN |1 PY=1 /bin/sh -c pip install torch # buildkit"];
    assert!(server.said(&gone, 1).0.ends_with("build argument GIT_SHA"));
    let other = ["os", "a4<RUN |2 PY=1 GIT_SHA=bbbb /bin/sh -c pip install jax # buildkit"];
    let (said, advice) = server.said(&other, 1);
    assert!(said.ends_with("where the instruction is: RUN pip install torch"), "{said}");
    assert!(advice.unwrap().contains("the Dockerfile has changed"));
    let (said, advice) = server.said(&["os2", "b2</bin/sh -c #(nop) COPY dir:4567 in /app "], 1);
    assert!(said.ends_with("the same instruction made other content"), "{said}");
    assert!(advice.unwrap().contains("files that it copies have changed"));
    let (said, _) = server.said(&["os3", "c2<RUN a very long instruction…"], 1);
    assert!(said.ends_with("an instruction that begins alike made other content"), "{said}");
}

#[test]
fn where_a_value_cannot_be_told_from_the_command_nothing_is_said_of_either() {
    let server = server(CLASSIC).with("sha-1", &["os", "a<RUN |1 A=aaaa … # buildkit"]);
    for layer in ["a2<RUN |1 A=bbbb … # buildkit", "a2<RUN |1 A=aaaa … # buildkit", "a2<RUN |1 A=aaaa /bin/sh -c make"]
    {
        let (said, advice) = server.said(&["os", layer], 1);
        assert_eq!(said, "the first layer that differs from ghcr.io/acme/app:sha-1", "{layer}");
        assert_eq!(advice.unwrap(), "put what changes often after what changes seldom", "{layer}");
    }
}

#[test]
fn what_the_registry_no_longer_describes_is_compared_without_its_instruction() {
    let mut server = server(CLASSIC).with("sha-1", &["os", "apt1<RUN apt-get update"]);
    server.described.clear();
    let (said, _) = server.said(&["os", "apt2<RUN apt-get update"], 1);
    assert_eq!(said, "the first layer that differs from ghcr.io/acme/app:sha-1");
}

#[test]
fn what_lies_on_top_of_a_whole_kept_image_is_what_the_deploy_brings_and_needs_no_mending() {
    let server = server(CLASSIC).with("ghcr.io/acme/cuda:1", &["os", "cudnn"]).keeping("ghcr.io/acme/cuda:1");
    let wanted = ["os", "cudnn", "torch", "code"];
    assert_eq!(server.words(&wanted), ["", "", "on top", "above"]);
    let (said, advice) = server.said(&wanted, 2);
    assert_eq!(said, "it is new on top of ghcr.io/acme/cuda:1, which is here whole: this is what the pull is for");
    assert!(advice.unwrap().starts_with("nothing, unless it is large"));
    // with an earlier build here, that one is the measure
    let later = server.with("sha-1", &["os", "cudnn", "torch", "code"]);
    assert_eq!(later.words(&["os", "cudnn", "torch2", "code"]), ["", "", "differs", "above"]);
}

#[test]
fn what_was_loaded_or_built_here_is_unknown_and_says_so() {
    let server = server(CLASSIC).with_loaded("sha-1", &["os", "torch"]);
    assert_eq!(server.words(&["os", "torch", "code"]), ["loaded or built", "loaded or built", "on top"]);
    let (said, advice) = server.said(&["os", "torch", "code"], 0);
    assert!(said.contains("was loaded or built here"), "{said}");
    assert!(advice.unwrap().contains("pull ghcr.io/acme/app:sha-1 from its registry once"));
}

#[test]
fn what_was_here_once_is_lost_since_then_and_by_that() {
    let mut server = server(CLASSIC).with("sha-1", &["os", "torch"]);
    let how = Some("somebody ran a prune".to_owned());
    server.lost.insert(diff("node"), Lost { image: "ghcr.io/acme/cache-node:1".into(), at: NOW, how, ours: false });
    assert_eq!(server.words(&["os", "torch", "node"]), ["", "", "lost"]);
    let (said, advice) = server.said(&["os", "torch", "node"], 2);
    assert_eq!(
        said,
        format!("it was here in ghcr.io/acme/cache-node:1, which was gone at {NOW}: somebody ran a prune")
    );
    assert!(advice.unwrap().contains("layerkeeper doctor"));
    if let Some(lost) = server.lost.get_mut(&diff("node")) {
        lost.ours = true;
    }
    let advice = server.said(&["os", "torch", "node"], 2).1.unwrap();
    assert!(advice.contains("raise keep_last") && !advice.contains("doctor"), "{advice}");
}

#[test]
fn files_that_stand_elsewhere_are_told_beside_the_cause() {
    let mut server = server(CLASSIC).with("sha-1", &["os", "venv1<COPY --from=python /opt/venv"]);
    let repeat = Repeat {
        image: "ghcr.io/acme/cache-python:1".into(),
        total: Bytes(3_000_000_000),
        repeated: Bytes(2_999_000_000),
        files: 19_242,
        repeated_files: 19_240,
        foretold: false,
    };
    server.repeats.insert(diff("venv2"), vec![repeat]);
    let wanted = ["os", "venv2<COPY --from=python /opt/venv"];
    assert_eq!(server.words(&wanted), ["", "differs + repeats files"]);
    let cause = &server.explain(&wanted).causes[1][1];
    assert_eq!(
        cause.to_string(),
        "it repeats 99 % of its files' bytes from ghcr.io/acme/cache-python:1 (3.00 GB of 3.00 GB, 19240 of 19242 files): \
         same path, same content, another layer"
    );
    assert!(cause.advice().unwrap().contains("FROM the image that has the files (ghcr.io/acme/cache-python:1)"));
}

#[test]
fn each_kept_image_says_how_much_it_shares() {
    let server = server(CLASSIC)
        .with("ghcr.io/acme/cuda:1", &["os", "cudnn"])
        .with("ghcr.io/acme/python:1", &["os", "cudnn", "torch"])
        .keeping("ghcr.io/acme/cuda:1")
        .keeping("ghcr.io/acme/python:1")
        .keeping("ghcr.io/acme/node:1");
    let shares = server.explain(&["os", "cudnn", "venv"]).shares;
    let told: Vec<_> = shares.iter().map(|s| (s.image.to_string(), s.here, s.bytes.0, s.layers)).collect();
    assert_eq!(
        told,
        [
            ("ghcr.io/acme/cuda:1".into(), true, 200, 2),
            ("ghcr.io/acme/python:1".into(), true, 200, 2),
            ("ghcr.io/acme/node:1".into(), false, 0, 0),
        ]
    );
}
