//! The few options of the benchmarks.

/// What was given on the command line of a benchmark.
pub(crate) struct Options(Vec<String>);

impl Options {
    /// Reads the command line; `None` when this run is not meant to measure: `cargo test
    /// --all-targets` runs benchmarks, too, in a debug build and without `--bench`.
    pub(crate) fn from_args() -> Option<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.iter().any(|argument| argument == "--bench") {
            return Some(Self(arguments));
        }
        println!("nothing is measured without `cargo bench`");
        None
    }

    /// Whether `--name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument.strip_prefix("--") == Some(name))
    }

    /// The number after `--name`, or `default`.
    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        let at = self.0.iter().position(|argument| argument.strip_prefix("--") == Some(name));
        let Some(at) = at else { return default };
        let value = self.0.get(at + 1).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("--{name} wants a number"))
    }
}

/// Prints whether `value` keeps to `limit`, and gives that.
pub(crate) fn keeps_to(what: &str, value: f64, limit: f64, unit: &str) -> bool {
    let kept = value <= limit;
    let word = if kept { "ok" } else { "ABOVE THE BAR" };
    println!("{what}: {value:.3} {unit} (at most {limit} {unit}): {word}");
    kept
}

/// Prints whether `value` reaches `bar`, and gives that.
pub(crate) fn at_least(what: &str, value: f64, bar: f64, unit: &str) -> bool {
    let kept = value >= bar;
    let word = if kept { "ok" } else { "BELOW THE BAR" };
    println!("{what}: {value:.1} {unit} (at least {bar} {unit}): {word}");
    kept
}
