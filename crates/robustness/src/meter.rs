//! What a well-behaved client sees.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use testkit::Client;

/// Times of requests, sorted.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// The time that this share of the requests was not slower than, for example 0.999.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len() - 1;
        self.0[((last as f64 * share).ceil() as usize).min(last)]
    }
}

/// One connection asks and waits, `requests` times: SET, GET and PING in turn.
pub fn measure(address: SocketAddr, requests: usize) -> Latencies {
    let mut client = Client::connect(address).expect("a well-behaved client is admitted");
    let mut times = Vec::with_capacity(requests);
    for number in 0..requests {
        let value = number.to_string();
        let words: &[&str] = match number % 3 {
            0 => &["SET", "meter", &value],
            1 => &["GET", "meter"],
            _ => &["PING"],
        };
        let sent = Instant::now();
        let reply = client.command(words).expect("a well-behaved client is served");
        times.push(sent.elapsed());
        let expected = [b"OK".to_vec(), (number.max(1) - 1).to_string().into_bytes(), b"PONG".to_vec()];
        assert_eq!(reply.bytes(), Some(&expected[number % 3][..]));
    }
    times.sort_unstable();
    Latencies(times)
}
