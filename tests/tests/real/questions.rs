//! What a deploy asks its registry: on a long way each question that follows another is a round trip.

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Agent, Auth, Image, Mark, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;

use crate::reuse::bare;

/// Who asked what, but for what the engine asks to learn whom it speaks with.
fn asked(registry: &Registry, since: Mark, who: Agent) -> Vec<String> {
    let accesses = registry.accesses(since);
    let questions = accesses.iter().filter(|access| access.agent() == who && access.path != "/v2/");
    questions.map(|access| format!("{} {}", access.method, access.path.replace("/v2/acme/app/", ""))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tag_is_asked_for_once_and_named_without_a_question() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        for (tag, named) in [("sha-1", false), ("sha-2", true)] {
            let image = Image::new().layer(layer(98, number, u64::from(named), Bytes(90_000)));
            let pushed = image.push(&registry, &format!("acme/app:{tag}")).unwrap();
            let (digest, config) = (pushed.digest, pushed.config.digest);
            let mark = registry.mark();
            host.ship(tag, named.then_some(digest)).await;

            let mut ours = asked(&registry, mark, Agent::Layerkeeper);
            let config = format!("GET blobs/{config}");
            let manifest = format!("GET manifests/{}", if named { digest.to_string() } else { tag.to_owned() });
            let at = |wanted: &String| ours.iter().position(|question| question == wanted);
            assert!(at(&manifest) < at(&config), "{ours:?}");
            let mut wanted = vec![manifest];
            // beside the manifest, of a digest that is known
            wanted.extend(named.then(|| format!("HEAD manifests/{tag}")));
            wanted.push(config);
            ours.sort();
            wanted.sort();
            assert_eq!(ours, wanted);

            let engines = asked(&registry, mark, Agent::Engine);
            assert!(engines.iter().any(|question| question.contains(&digest.to_string())), "{engines:?}");
            assert!(!engines.iter().any(|question| question.ends_with(tag)), "its name is new here: {engines:?}");
        }
    })
    .await;
}
