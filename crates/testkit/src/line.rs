//! A line of so many bytes per second and connection, and so long a way: a TCP proxy that hands bytes on late, and none of
//! them later for the others' sake.
//!
//! It delays what it reads and reads on meanwhile, so a long way costs time and no throughput. A new connection costs one
//! round trip more, as TCP's handshake does; its slow start is not made.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, Scope};
use std::time::{Duration, Instant};

use crate::error::{Doing, Result};

const CHUNK: usize = 32 * 1024;
/// What may be under way in one direction of a connection: 160 MB/s at 100 ms.
const UNDER_WAY: usize = 512;
/// A connection that is paced sends at once what this time brings: each step costs the machine that is measured some of its
/// processor. What it fell behind by more than the other is lost to it.
const STEP: Duration = Duration::from_millis(8);
const BEHIND: Duration = Duration::from_millis(20);

/// What a line does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Bytes per second towards the client; None: as they come.
    pub rate: Option<u64>,
    /// There and back.
    pub round_trip: Duration,
}

/// A line that is up; dropping it cuts all its connections.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    traits: Traits,
    to: String,
    down: AtomicBool,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

/// Bytes, and when they are due at the other end.
type Chunk = (Instant, Vec<u8>);

impl Line {
    /// Towards `to` (`HOST:PORT`), from a loopback port.
    pub fn start(to: &str, traits: Traits) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").doing(|| "a loopback port for a line".to_owned())?;
        let address = listener.local_addr().doing(|| "a line's address".to_owned())?;
        let shared =
            Arc::new(Shared { traits, to: to.to_owned(), down: AtomicBool::new(false), open: Mutex::default() });
        let ours = shared.clone();
        let thread = std::thread::spawn(move || ours.serve(&listener));
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it begins: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.down.store(true, Ordering::SeqCst);
        // whoever waits for a connection gets one
        drop(TcpStream::connect(self.address));
        self.shared.cut();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        std::thread::scope(|scope| {
            while let Ok((client, _)) = listener.accept() {
                if self.down.load(Ordering::SeqCst) {
                    break;
                }
                if let Err(error) = self.connect(scope, client) {
                    eprintln!("testkit: a connection of a line failed: {error}");
                }
            }
            self.cut();
        });
    }

    fn connect<'s>(&'s self, scope: &'s Scope<'s, '_>, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect(&self.to).doing(|| format!("a connection to {}", self.to))?;
        client.set_nodelay(true).doing(|| "TCP_NODELAY".to_owned())?;
        server.set_nodelay(true).doing(|| "TCP_NODELAY".to_owned())?;
        let (client, server) = (Arc::new(client), Arc::new(server));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| stream.strong_count() > 0);
        open.extend([Arc::downgrade(&client), Arc::downgrade(&server)]);
        drop(open);
        let half = self.traits.round_trip / 2;
        // nothing goes before the handshake would be done
        let up_from = Instant::now() + self.traits.round_trip;
        carry(scope, (client.clone(), server.clone()), half, up_from, None);
        carry(scope, (server, client), half, Instant::now(), self.traits.rate);
        Ok(())
    }

    fn cut(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.iter().filter_map(Weak::upgrade) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// One direction, by two threads: one reads and stamps, one waits and writes.
fn carry<'s>(
    scope: &'s Scope<'s, '_>,
    (from, to): (Arc<TcpStream>, Arc<TcpStream>),
    half: Duration,
    not_before: Instant,
    rate: Option<u64>,
) {
    let room = rate.map_or(UNDER_WAY, |rate| room(rate, half));
    let (stamped, due) = sync_channel(room);
    scope.spawn(move || read(&from, &stamped, half, not_before));
    scope.spawn(move || write(&to, &due, rate));
}

/// A paced connection holds what is under way, and little besides: what a server has sent and nobody has got would be
/// counted as moved.
fn room(rate: u64, half: Duration) -> usize {
    let under_way = (rate as f64 * half.as_secs_f64() / CHUNK as f64).ceil() as usize;
    (2 * under_way + 2).min(UNDER_WAY)
}

fn read(mut from: &TcpStream, stamped: &SyncSender<Chunk>, half: Duration, not_before: Instant) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                let due = Instant::now().max(not_before) + half;
                if stamped.send((due, buffer[..length].to_vec())).is_err() {
                    break;
                }
            }
        }
    }
    from.shutdown(Shutdown::Read).ok();
}

fn write(mut to: &TcpStream, due: &Receiver<Chunk>, rate: Option<u64>) {
    let mut free = Instant::now();
    let step = rate.map_or(CHUNK, |rate| (rate as f64 * STEP.as_secs_f64()) as usize).clamp(1, CHUNK);
    'all: for (due, bytes) in due {
        until(due);
        for bytes in bytes.chunks(step) {
            if let Some(rate) = rate {
                until(free);
                free = later(free) + Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64);
            }
            if to.write_all(bytes).is_err() {
                // the reader learns of it by the channel's end; till then it may wait for bytes that never come
                to.shutdown(Shutdown::Both).ok();
                break 'all;
            }
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// What was not used is not saved up, but for the little that a sleep is late by.
fn later(free: Instant) -> Instant {
    Instant::now().checked_sub(BEHIND).map_or(free, |least| free.max(least))
}

fn until(when: Instant) {
    let left = when.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte by so many, until the connection ends.
    fn server(answer: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&vec![byte[0]; answer]).is_ok() {}
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, answer: usize) -> Duration {
        let begun = Instant::now();
        stream.write_all(&[7]).unwrap();
        let mut got = vec![0; answer];
        stream.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        begun.elapsed()
    }

    #[test]
    fn a_connection_gets_its_rate_and_nothing_at_once() {
        let traits = Traits { rate: Some(4_000_000), round_trip: Duration::ZERO };
        let line = Line::start(&server(1_000_000), traits).unwrap();
        let mut stream = TcpStream::connect(line.host()).unwrap();
        for _ in 0..2 {
            let took = ask(&mut stream, 1_000_000).as_secs_f64();
            assert!(took > 0.22, "{took}");
        }
    }

    #[test]
    fn a_long_way_costs_time_and_no_throughput() {
        let traits = Traits { rate: None, round_trip: Duration::from_millis(200) };
        let line = Line::start(&server(20_000_000), traits).unwrap();
        let mut stream = TcpStream::connect(line.host()).unwrap();
        let (first, second) = (ask(&mut stream, 20_000_000), ask(&mut stream, 20_000_000));
        assert!(first >= Duration::from_millis(400), "{first:?}");
        assert!(second >= Duration::from_millis(200), "{second:?}");
        // a chunk per round trip would take two minutes
        assert!(second < Duration::from_secs(20), "{second:?}");
    }

    #[test]
    fn a_line_that_goes_cuts_its_connections() {
        let line = Line::start(&server(1), Traits { rate: None, round_trip: Duration::ZERO }).unwrap();
        let mut stream = TcpStream::connect(line.host()).unwrap();
        ask(&mut stream, 1);
        drop(line);
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}
