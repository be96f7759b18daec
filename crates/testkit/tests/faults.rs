//! The proxy spoils what it is told to, on the wire that a real engine pulls over.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use layerkeeper_core::Bytes;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Agent, Auth, Engines, Fault, Image, Layer, Proxy, Pushed, Registry, eventually_blocking};

const SIZE: Bytes = Bytes(400_000);

fn setup(seed: u64) -> (Registry, Proxy, Pushed) {
    let registry = Registry::start(Auth::Open).unwrap();
    let proxy = Proxy::start(&registry.host()).unwrap();
    let image = Image::new().layer(Layer::random(seed, SIZE).unwrap());
    let pushed = image.push(&registry, "acme/app:1").unwrap().via(&proxy.host()).unwrap();
    (registry, proxy, pushed)
}

#[test]
fn an_engine_resumes_a_layer_that_was_cut_once() {
    let (registry, proxy, pushed) = setup(51);
    let blob = format!("/blobs/{}", pushed.layers[0].blob);
    for engine in Engines::all() {
        let mark = registry.mark();
        let before = proxy.passed().len();
        proxy.add(Fault::cut_after(Bytes(100_000)).on_path(&blob).on_method("GET").once());
        engine.run_docker(["pull", "--quiet", &pushed.reference()]).unwrap();
        let passed = proxy.passed().split_off(before);
        let layer: Vec<_> = passed.iter().filter(|p| p.path.contains(&blob) && p.method == "GET").collect();
        assert_eq!((layer[0].status, layer[0].sent), (Some(200), Bytes(100_000)), "{:?}", engine.kind());
        assert_eq!(layer[1].range.as_deref().map(|r| r.starts_with("bytes=100000-")), Some(true), "{layer:?}");
        assert_eq!(layer[0].sent + layer[1].sent, pushed.layers[0].size, "{:?}", engine.kind());
        // what the registry wrote before it saw the cut lies in buffers, so its log shows at least what arrived
        let logged = registry.bytes_of_layers(mark, &pushed.layer_digests(), Agent::Engine);
        assert!(logged >= pushed.layers[0].size, "{logged}");
    }
}

#[test]
fn answers_of_our_own_reach_the_client_and_count_down() {
    let (registry, proxy, pushed) = setup(52);
    let server = Server::tcp(proxy.host());
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    proxy.add(Fault::answer(429).header("Retry-After", "7").body("slow down").on_path("/blobs/").times(2));
    for _ in 0..2 {
        let answer = server.get(&path).unwrap();
        assert_eq!((answer.status, answer.header("retry-after"), answer.text()), (429, Some("7"), "slow down".into()));
    }
    let answer = server.request("GET", &path).header("Range", "bytes=10-19").send().unwrap();
    assert_eq!((answer.status, answer.body.len()), (206, 10));
    assert_eq!(server.request("HEAD", &path).send().unwrap().status, 200);
    assert_eq!(server.request("HEAD", &path).header("Authorization", "Basic x").send().unwrap().status, 200);
    let passed = proxy.passed();
    assert_eq!(passed.iter().map(|p| p.authorized).collect::<Vec<_>>(), [false, false, false, false, true]);
    assert_eq!(proxy.sent(), Bytes(9 + 9 + 10));
    drop(registry);
    assert_eq!(server.get(&path).unwrap().status, 502);
}

#[test]
fn delay_stall_hang_and_close_do_what_they_say() {
    let (_registry, proxy, pushed) = setup(53);
    let server = Server::tcp(proxy.host());
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    let get = || server.request("GET", &path).limit(Duration::from_millis(300)).send();
    let started = Instant::now();
    proxy.add(Fault::delay(Duration::from_millis(100)).once());
    assert_eq!(get().unwrap().body.len() as u64, pushed.layers[0].size.0);
    assert!(started.elapsed() >= Duration::from_millis(100));
    proxy.add(Fault::stall_after(Bytes(1000)).once());
    assert!(get().unwrap_err().to_string().contains("temporarily unavailable"), "a time limit, not an end");
    assert_eq!(proxy.passed().last().unwrap().sent, Bytes(1000));
    proxy.add(Fault::hang().once());
    assert!(get().unwrap_err().to_string().contains("temporarily unavailable"));
    assert_eq!(proxy.passed().last().unwrap().status, None);
    proxy.add(Fault::close().once());
    get().unwrap_err();
    proxy.add(Fault::close());
    proxy.clear();
    get().unwrap();
}

#[test]
fn a_throttle_holds_for_all_connections_together() {
    let (_registry, proxy, pushed) = setup(54);
    let server = Server::tcp(proxy.host());
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    proxy.throttle(Some(Bytes(1_600_000)));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| server.get(&path).unwrap());
        }
    });
    let took = started.elapsed();
    assert!(took > Duration::from_millis(450), "800 kB at 1.6 MB/s took {took:?}");
    proxy.throttle(None);
    eventually_blocking(Duration::from_secs(5), || server.get(&path));
}

#[test]
fn what_is_held_comes_when_it_is_released_and_a_client_that_goes_is_let_go() {
    let (registry, proxy, pushed) = setup(58);
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    let mark = registry.mark();
    proxy.hold_after(Bytes(100_000));
    let mut leaving = std::net::TcpStream::connect(proxy.host()).unwrap();
    std::io::Write::write_all(&mut leaving, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    eventually_blocking(Duration::from_secs(5), || proxy.is_holding());
    drop(leaving);
    // the registry writes down a request when it has ended
    eventually_blocking(Duration::from_secs(5), || {
        let logged = registry.bytes_of_layers(mark, &pushed.layer_digests(), Agent::Other).0;
        if logged > 0 { Ok(()) } else { Err("the registry's request goes on") }
    });
    std::thread::scope(|scope| {
        let whole = scope.spawn(|| Server::tcp(proxy.host()).get(&path).unwrap());
        eventually_blocking(Duration::from_secs(5), || {
            if proxy.passed().len() == 2 { Ok(()) } else { Err(format!("{:?}", proxy.passed())) }
        });
        assert!(!whole.is_finished() && proxy.sent() <= Bytes(100_000));
        proxy.release();
        assert_eq!(whole.join().unwrap().body.len() as u64, pushed.layer_bytes().0);
    });
}

#[test]
fn it_serves_as_http_proxy_for_any_host() {
    let (registry, proxy, pushed) = setup(55);
    let forward = Server::tcp(proxy.host());
    // as a client asks a proxy: the whole URL in the request line
    let url = format!("http://registry.example{}", "/v2/");
    let mut stream = std::net::TcpStream::connect(proxy.host()).unwrap();
    use std::io::{Read, Write};
    write!(stream, "GET {url} HTTP/1.1\r\nHost: registry.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut tunnel = std::net::TcpStream::connect(proxy.host()).unwrap();
    write!(
        tunnel,
        "CONNECT registry.example:443 HTTP/1.1\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    tunnel.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    let other = Registry::start(Auth::Open).unwrap();
    proxy.set_upstream(&other.host());
    let path = format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob);
    assert_eq!(forward.get(&path).unwrap().status, 404);
    drop(registry);
}
