//! An open-loop load: each request has its instant in a plan made beforehand, and its latency counts from that instant,
//! however late it could be sent. A server that stands still for a second is charged for every request of that second.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Connections, kept alive. At 200 requests a second each has 160 ms for one.
const LANES: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends all requests, `per_second` of them, and gives each one's latency. Every answer must have this status.
pub fn run(address: &str, requests: &[Vec<u8>], per_second: u32, status: u16) -> Result<Vec<Duration>> {
    let lanes = (0..LANES).map(|_| Lane::open(address)).collect::<Result<Vec<_>>>()?;
    let begin = Instant::now() + Duration::from_millis(50);
    let results = std::thread::scope(|scope| {
        let lane = |(number, lane): (usize, Lane)| {
            scope.spawn(move || lane.drive(number, requests, begin, f64::from(per_second), status))
        };
        let threads: Vec<_> = lanes.into_iter().enumerate().map(lane).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut latencies = Vec::with_capacity(requests.len());
    for result in results {
        match result {
            Ok(times) => latencies.extend(times?),
            Err(_) => bail!("a thread of the load died"),
        }
    }
    ensure!(latencies.len() == requests.len(), "{} of {} requests were answered", latencies.len(), requests.len());
    Ok(latencies)
}

struct Lane(BufReader<TcpStream>);

impl Lane {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends every request that is this lane's, each at its instant.
    fn drive(
        mut self,
        number: usize,
        requests: &[Vec<u8>],
        begin: Instant,
        per_second: f64,
        status: u16,
    ) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for (index, request) in requests.iter().enumerate().skip(number).step_by(LANES) {
            let due = begin + Duration::from_secs_f64(index as f64 / per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (answered, body) = self.exchange(request).with_context(|| format!("request {index}"))?;
            latencies.push(due.elapsed());
            ensure!(answered == status, "request {index} was answered with {answered}: {body}");
        }
        Ok(latencies)
    }

    /// Status and body of the answer.
    fn exchange(&mut self, request: &[u8]) -> Result<(u16, String)> {
        self.0.get_mut().write_all(request)?;
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the connection was closed");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                None => status = line.split(' ').nth(1).and_then(|word| word.parse().ok()),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status.context("no status line")?, String::from_utf8_lossy(&body).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn server(delay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut request = [0; 4];
                    while stream.read_exact(&mut request).is_ok() {
                        std::thread::sleep(delay);
                        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_slow_answer_is_charged_to_the_requests_behind_it() {
        let address = server(Duration::from_millis(50));
        // two for each lane, both due at about the same time
        let requests = vec![b"ping".to_vec(); LANES * 2];
        let latencies = run(&address, &requests, 1_000_000, 202).unwrap();
        assert_eq!(latencies.len(), LANES * 2);
        assert!(latencies.iter().filter(|latency| **latency >= Duration::from_millis(100)).count() >= LANES);
    }

    #[test]
    fn another_status_is_an_error() {
        let address = server(Duration::ZERO);
        let error = run(&address, &[b"ping".to_vec()], 1000, 200).unwrap_err();
        assert!(format!("{error:#}").contains("202"), "{error:#}");
    }
}
