//! Times of the hot paths: `cargo bench -p connect-redis-core --features bench`.

#![expect(clippy::print_stdout, reason = "a benchmark reports its times")]

use connect_redis_core::bench::{BenchCache, BenchStats, decode, encode, in_force, slot};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SAMPLES: usize = 25;
const SAMPLE: Duration = Duration::from_millis(20);

/// Prints the fastest and the median time of a call.
fn bench<T>(name: &str, mut call: impl FnMut() -> T) {
    let begin = Instant::now();
    let mut calls = 0u32;
    while begin.elapsed() < SAMPLE {
        black_box(call());
        calls += 1;
    }
    let mut times: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..calls {
                black_box(call());
            }
            begin.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (fastest, median) = (times[0], times[SAMPLES / 2]);
    println!("{name:<28} {fastest:>10.1} ns  (median {median:.1} ns)");
}

fn main() {
    let filler = "x".repeat(400);
    let text = format!(
        r#"{{"cookie":{{"originalMaxAge":86400000,"expires":"2026-01-31T12:00:30.000Z","httpOnly":true,"path":"/"}},"user":"{filler}"}}"#
    );
    let unusual =
        format!(r#"{{"user":"{filler}","cookie":{{"expires":"2026-01-31T12:00:30.000Z"}}}}"#);
    let key = b"sess:Wm3cJ8Qk2pT5vXzB7nRf0aYdHgLsUe1o";
    let stream = format!("${}\r\n{text}\r\n:86400000\r\n", text.len()).repeat(64);
    bench("decode 64 sessions", || decode(stream.as_bytes()));
    bench("encode get and set", || {
        encode(black_box(key), text.as_bytes())
    });
    bench("expiry, usual cookie", || {
        in_force(black_box(text.as_bytes()))
    });
    bench("expiry, cookie at the end", || {
        in_force(black_box(unusual.as_bytes()))
    });
    bench("slot", || slot(black_box(key)));
    let stats = BenchStats::default();
    bench("statistics of 1 operation", || {
        black_box(&stats).record(black_box(1))
    });
    bench("statistics of 64", || {
        black_box(&stats).record(black_box(64))
    });
    let cache = BenchCache::default();
    bench("cache fill", || cache.fill(key, text.as_bytes()));
    bench("cache hit", || cache.look_up(key));
    bench("cache miss", || cache.look_up(b"sess:missing"));
}
