//! Joins two network namespaces by a slow, long and lossy link until its standard input ends.
//!
//!     link --ends NAMESPACE=ADDRESS NAMESPACE=ADDRESS [--rate MBIT] [--rtt MS] [--loss PERCENT]
//!
//! `benches/compare --link` uses it, so that every tool is measured on the same link. It needs
//! root and /dev/net/tun.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

#[path = "../support/link.rs"]
mod link;

use link::{End, Shape, join};

const USAGE: &str = "usage: link --ends NAMESPACE=ADDRESS NAMESPACE=ADDRESS \
                     [--rate MBIT] [--rtt MS] [--loss PERCENT]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((ends, shape)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Err(why) = join(&ends, shape) {
        eprintln!("cannot make the link: {why}");
        return ExitCode::FAILURE;
    }
    println!("ready");
    // Who started this ends it by closing its side.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<([End; 2], Shape)> {
    let after = |name: &str, offset: usize| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + offset)
    };
    let number = |name: &str, default: f64| match after(name, 1) {
        Some(text) => text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0),
        None => Some(default),
    };
    let end = |offset| {
        let (namespace, address) = after("--ends", offset)?.split_once('=')?;
        Some(End { namespace: namespace.to_owned(), address: address.parse().ok()? })
    };
    let shape = Shape {
        rate_bits: (number("--rate", 100.0)? * 1e6) as u64,
        round_trip: Duration::from_secs_f64(number("--rtt", 80.0)? / 1e3),
        loss_ppm: (number("--loss", 1.0)? * 1e4) as u32,
    };
    (shape.rate_bits > 0).then_some(([end(1)?, end(2)?], shape))
}
