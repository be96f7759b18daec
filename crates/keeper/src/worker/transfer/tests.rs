//! Which engines can pull from this machine's loopback.

use layerkeeper_core::StoreKind;
use layerkeeper_engine::fake::Fake;
use layerkeeper_registry::{Client, Settings as ClientSettings};
use layerkeeper_relay::Spool;

use super::*;

fn engine() -> EngineInfo {
    Fake::new(StoreKind::Graphdriver).everything().unwrap().engine
}

fn transfers() -> Transfers {
    let client = Client::new(ClientSettings::default()).unwrap();
    Transfers::new(Some(Relays::new(client, Spool::new("/nowhere".into()))))
}

#[test]
fn no_relay_where_loopback_is_not_the_engines() {
    let (transfers, settings) = (transfers(), TransferSettings::default());
    let engine = engine();
    assert_eq!(transfers.hindrance(&settings, &engine), None);
    let rootless = EngineInfo { rootless: true, ..engine.clone() };
    assert!(transfers.hindrance(&settings, &rootless).is_some_and(|why| why.contains("rootless")));
    let remote = TransferSettings { engine_is_here: false, ..settings.clone() };
    assert!(transfers.hindrance(&remote, &engine).is_some_and(|why| why.contains("over the network")));
    assert!(Transfers::new(None).hindrance(&settings, &engine).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_could_not_reach_it_is_let_try_again_after_a_while() {
    let (transfers, settings) = (transfers(), TransferSettings::default());
    let engine = engine();
    let other = EngineInfo { id: "other".to_owned(), ..engine.clone() };
    lock(&transfers.out_of_reach).insert(engine.instance(), ("refused".to_owned(), Instant::now()));
    assert_eq!(transfers.hindrance(&settings, &engine), Some("refused".to_owned()));
    assert_eq!(transfers.hindrance(&settings, &other), None);
    tokio::time::advance(OUT_OF_REACH).await;
    assert_eq!(transfers.hindrance(&settings, &engine), None);
}
